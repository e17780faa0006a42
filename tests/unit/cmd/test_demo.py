import subprocess

from obmd.cmd.demo import Demo


def commands(count=8, token_file='/state/admin-token'):
    banner = Demo(count, '/state').banner('http://127.0.0.1:8380', token_file)
    return [
        line
        for line in banner.splitlines()
        if line.startswith(('TOKEN=', 'curl')) and not line.startswith('#')
    ]


def test_the_greeting_has_five_commands_that_a_posix_shell_takes():
    assert len(commands()) == 5
    for command in commands():
        subprocess.run(['sh', '-n', '-c', command], check=True)


def test_a_path_with_spaces_survives_the_shell(tmp_path):
    folder = tmp_path / "a 'b"
    folder.mkdir()
    (folder / 'admin-token').write_text('abc\n')
    command = commands(token_file=str(folder / 'admin-token'))[4].replace('curl', 'echo', 1)
    said = subprocess.run(['sh', '-c', command], capture_output=True, text=True, check=True)
    assert '-u admin:abc -G' in said.stdout


def test_the_sweep_names_every_node_and_is_no_glob():
    assert "'nodes=demo-[1-8]'" in commands(8)[4]
    assert "'nodes=demo-1'" in commands(1)[4]
