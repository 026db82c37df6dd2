"""Features that other tools made, a file a tool.

Names: a column that means the same as one of facer's gets facer's name (``AU12_r`` of OpenFace
and ``AU12`` of py-feat are ``au12``, ``anger`` is ``anger``), so that ``--features au,expr``
finds it; every other column keeps the tool's name. Numbers stay on the tool's scale: an
OpenFace AU is an intensity from 0 to 5 where facer's is a probability. The provenance says
which tool it was, so that such features never mix with others in one store.

Columns are found by name in every file; their order may differ from file to file.
"""
