"""``facer report``: a store, a run or an ablation as static pages that open from the disk.

REPORT/
  facer-report.json   what the folder is; a folder with it may be written again
  index.html          the overview; index.js holds its data
  clips/              a page, its data and, if embedded, its video for each chosen clip
  assets/             style, scripts and the plotting library, once for all pages

Browsers refuse to ``fetch`` from ``file://``, so data lies in scripts that set one variable.
Whatever comes from outside is escaped by Jinja in pages, written as JSON in scripts and set as
text, never as markup, by the scripts.
"""
