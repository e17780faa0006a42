"""Lists that come in pages."""


def every(transport, path, name, **query):
    """Yield each item of a list, page by page.

    :param name: str, what the answer calls the list.  :param query: None is left out.
    """
    marker = None
    while True:
        page = transport.read(path, marker=marker, **query)
        yield from page[name]
        marker = page.get('next')
        if marker is None:
            return
