"""``facer view``: the report's pages behind a server of this machine, to mark by eye.

``session`` makes the pages and numbers, ``notes`` keeps marks.csv and faces.csv, ``lanes`` measures
a feature of a clip with the code of ``facer summarise``, ``server`` answers requests: from
loopback, under an address that holds a random token, and from nowhere else.
"""
