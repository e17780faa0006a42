"""Benchmarks: obmd against ipmipower and ipmitool on the same simulated BMCs, in one run.

``python -m bench`` (or ``make bench``) prints a table and writes JSON to ``bench/results``.
Everything runs on loopback and is ended at the end, also by Ctrl-C.

``cli`` reads the command line, ``measures`` says what is measured, ``lab`` starts simulators and
obmd, ``clients`` are the callers and viewers, ``shots`` single requests, ``agents`` the machines at
the Ironic door, ``peers`` the programs compared with, ``report`` is the table and the file.

Apart from these: ``python -m bench.ring`` plays fleets that no machine holds (``plays`` on a
``fleet``, ``statements`` counted, ``pictures`` drawn), ``python -m bench.split`` measures API and
conductors.
"""
