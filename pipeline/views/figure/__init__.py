"""``facer figure``: figures for a paper, with the drawn numbers beside them."""
