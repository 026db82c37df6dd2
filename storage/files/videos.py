"""Which files are videos or sounds, by their names: the one list that finding and joining use."""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".264"}
    | {".hevc", ".h265", ".265", ".insv", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v"}
    | {".mj2", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".tp", ".trp"}
    | {".ts", ".vob", ".vro", ".webm", ".wmv", ".wtv", ".xvid", ".y4m"}
)
"""Endings, in lower case, of the files that facer takes for videos."""

SOUND_SUFFIXES = frozenset(
    {".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".eac3", ".flac"}
    | {".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".snd", ".tta", ".w64"}
    | {".wav", ".wave", ".weba", ".wma", ".wv"}
)
"""Endings, in lower case, of files of sound alone."""

CLIP_SUFFIXES = VIDEO_SUFFIXES | SOUND_SUFFIXES
"""What the id of a clip in a table may end with."""

UNREAD_SUFFIXES = frozenset(
    {".amv", ".apng", ".bik", ".braw", ".crm", ".dav", ".dvr-ms", ".evo", ".flc", ".fli", ".lrv"}
    | {".m3u8", ".mpd", ".nsv", ".r3d", ".rec", ".swf", ".webp"}
)
"""Endings of files that a user may take for videos, and that facer does not read."""

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
"""Endings of pictures; numbered ones in one folder are a clip to the tool that made them."""
