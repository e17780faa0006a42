"""``obmd-manage``, a command line on cliff: one module for each thing it manages."""
