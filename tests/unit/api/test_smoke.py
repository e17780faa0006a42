def test_status(api, node):
    r = api.app.get(f'/node/n1/power_status?token={node}')
    print(r)
    assert r.body == b'{"power_status":"on"}\n'
