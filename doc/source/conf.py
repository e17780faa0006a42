"""Sphinx's settings; ``make docs`` reads them."""

import warnings

from obmd.version import VERSION

# libraries tell their users what is none to ours
warnings.simplefilter('ignore')

project = 'obmd'
author = 'the authors of obmd'
copyright = author  # noqa: A001  Sphinx wants this name
version = release = VERSION

extensions = [
    # the configuration reference is made from the options in the code
    'oslo_config.sphinxext',
]
root_doc = 'index'
html_theme = 'alabaster'
html_theme_options = {
    'description': 'Power, boot device and serial consoles of bare metal',
    'fixed_sidebar': True,
    'page_width': '1080px',
}
html_show_sourcelink = False
highlight_language = 'none'
