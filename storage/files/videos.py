"""Which files are videos or sounds, by their names: the one list that finding and joining use."""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".3gpp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv"}
    | {".gif", ".h264", ".h265", ".hevc", ".insv", ".ismv", ".ivf", ".m1v", ".m2p", ".m2t"}
    | {".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mk3d", ".mkv", ".mod", ".mov"}
    | {".mp4", ".mp4v", ".mpe", ".mpeg", ".mpeg4", ".mpg", ".mpg4", ".mts"}
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
    {
        ".amv",
        ".apng",
        ".arf",
        ".bik",
        ".braw",
        ".crm",
        ".dav",
        ".dvr-ms",
        ".evo",
        ".flc",
        ".fli",
        ".lrv",
    }
    | {".crdownload", ".m3u8", ".m4s", ".mpd", ".nsv", ".part", ".r3d", ".rec", ".swf", ".webp"}
    | {".wrf", ".zoom"}
)
"""Endings of files that a user may take for videos, and that facer does not read."""

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
"""Endings of pictures; numbered ones in one folder are a clip to the tool that made them."""
