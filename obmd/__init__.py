"""obmd: the out-of-band management plane for bare metal."""
