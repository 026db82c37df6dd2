"""Columns of every table of a summary: names, units and definitions, said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facer.stages.summary.config import SummaryConfig
from facer.storage.study.columns import Column, integer, number, text
from facer.storage.study.design import Design

Schema = Mapping[str, Sequence[Column]]
TABLES = (
    "clips", "summary", "episodes", "groups", "left_out", "series", "wide", "columns",
)  # fmt: skip
"""Names of all tables that a summary may have."""

_CLIP = text("clip_id", "the clip: its path below the folder of videos, without ending")
_STATUS = text("status", "ok, no_face, no_sound, failed, excluded or not_in_store")
_EVENT = text("event", "what times count from; 'start' is the beginning of the clip's time")
_WINDOW = text("window", "span from the event, by name")
_FEATURE = text("feature", "column of the store")


def _design(design: Design) -> list[Column]:
    return [
        text("participant", "who is in the clip"), text("condition", "of the design"),
        text("session", "of the design"),
        *(text(name, "carried from the design as it is") for name in design.carried),
    ]  # fmt: skip


def schema(design: Design, config: SummaryConfig, features: Sequence[str]) -> Schema:
    """Return the columns of the tables that these settings give."""
    who = _design(design)
    tables: dict[str, Sequence[Column]] = {
        "clips": [_CLIP, *who, _STATUS, *_OF_CLIPS],
        "summary": [
            _CLIP, _EVENT, text("trial_type", "of the event"), _WINDOW, _FEATURE, *who,
            integer("weak", "1: learnt from weak labels", ""), _STATUS, *_OF_WINDOWS,
        ],
        "episodes": [_CLIP, _FEATURE, integer("n", "1, 2 ... by time; 0: the clip has none", ""),
                     *who, _STATUS, *_OF_EPISODES],
        "groups": _GROUPS,
        "left_out": [_CLIP, _EVENT, _WINDOW, _FEATURE,
                     text("why", "few frames, marked, no baseline, failed, excluded ...")],
    }  # fmt: skip
    if config.grid is not None:
        start = [_CLIP, _EVENT, *who, _STATUS, _TIME]
        if config.series == "long":
            tables["series"] = [*start, _FEATURE, *_OF_SERIES]
        else:
            values = [number(name, "of the feature", "mean of the bin") for name in features]
            if config.baseline is not None:
                values += [
                    number(f"{name}_bc", "of the feature", "mean of the bin against the baseline")
                    for name in features
                ]
            tables["series"] = [*start, *values, *_OF_SERIES[2:]]
    return tables


_OF_CLIPS = (
    text("reason", "why a clip is not ok, or what was odd about it"),
    number("duration_s", "s", "first frame to the end of the last"),
    number("fps", "Hz", "mean frame rate"),
    integer("n_frames", "decoded frames", "frames"),
    integer("n_valid", "frames in which a face was measured", "frames"),
    number("valid_share", "0 to 1", "time with a measured face over duration_s, marks left aside"),
    number("longest_gap_s", "s", "longest time without a measured face or marked"),
    number("marked_s", "s", "time that is marked for all features"),
    integer("faces_max", "most faces in one frame", "faces"),
    integer("track_switches", "how often the clip's face goes on as another track"),
    number("face_height_px", "px", "median height of the face's box"),
    number("det_score_mean", "0 to 1", "mean score of the face's detection"),
)
_OF_WINDOWS = (
    number("window_s", "s", "length of the window"),
    number("seen_s", "s", "time in it in which the feature was measured and not marked"),
    number("seen_share", "0 to 1", "seen_s over window_s; what the clip's end cuts off is unseen"),
    integer("n_frames", "seen frames", "frames"),
    number("longest_gap_s", "s", "longest unseen stretch"),
    number("mean", "of the feature", "weighted by time over what was seen"),
    number("sd", "of the feature", "square root of the weighted mean squared distance to mean"),
    number("median", "of the feature", "weighted by time (Hazen's definition)"),
    number("p95", "of the feature", "95 % quantile, weighted by time (Hazen's definition)"),
    number("peak", "of the feature", "greatest .2 s running mean in an unbroken seen stretch"),
    number("peak_s", "s", "middle of the first such run, from the event"),
    number("share", "0 to 1", "seen time above the threshold over seen time"),
    integer("episodes", "stretches above the threshold that begin in the window"),
    number("latency_s", "s", "start of the first of them, from the event; empty when a longer "
           "unseen stretch, or the clip's beginning, comes before"),
    number("baseline", "of the feature", "median of the seen frames of the baseline's window"),
    number("baseline_s", "s", "seen time of the baseline's window"),
    text("baseline_flag", "none, few, expressive, moving, participant (that of the person's other "
         "clips); empty: nothing against it"),
    number("mean_bc", "of the feature or logit", "mean against the baseline"),
    number("peak_bc", "of the feature or logit", "peak against the baseline"),
)  # fmt: skip
_OF_EPISODES = (
    number("start_s", "s", "of the clip's time"),
    number("stop_s", "s", "of the clip's time"),
    number("duration_s", "s", "stop minus start, .1 or more"),
    number("peak", "of the feature", "greatest value of a frame"),
    number("peak_s", "s", "when, in the clip's time"),
    number("mean", "of the feature", "weighted by time"),
    integer("cut_start", "1: what was before is not known", ""),
    integer("cut_stop", "1: what came after is not known", ""),
)
_TIME = number("t_s", "s", "start of the bin, from the event")
_OF_SERIES = (
    number("value", "of the feature", "mean of the bin, weighted by time"),
    number("value_bc", "of the feature or logit", "against the baseline"),
    number("seen_share", "0 to 1", "seen time over the bin"),
    integer("filled", "1: interpolated between the frames beside it", ""),
)
_GROUPS = (
    text("condition", "of the design"), _WINDOW, _FEATURE,
    text("statistic", "mean, or mean_bc"),
    integer("participants", "people with a value"),
    integer("clips", "clips and events with a value"),
    number("mean", "of the feature", "mean of the participants' means"),
    number("sd", "of the feature", "between participants (n - 1)"),
    number("lo", "of the feature", "lower end of the 95 % bootstrap interval over participants "
           "(expanded percentiles, Hesterberg 2015); empty below three"),
    number("hi", "of the feature", "upper end"),
)  # fmt: skip
DICTIONARY = (
    text("table", "the file; 'feature' for what the features themselves mean"),
    text("column", "its name"), text("unit", "of its numbers"),
    number("low", "of the unit", "least value that the unit has"),
    number("high", "of the unit", "greatest value"),
    number("threshold", "of the unit", "above it a feature counts as shown"),
    text("weak", "1: learnt from weak labels"), text("definition", "what the number is"),
)  # fmt: skip
"""Of the table that says what all columns are."""

COMPARED_COLUMNS = (
    text("feature", "column that both stores have"),
    integer("clips", "clips with frames that both saw"),
    integer("frames", "frames that both saw", "frames"),
    number("mean_a", "of the feature", "over the frames that both saw"),
    number("mean_b", "of the feature", "over the frames that both saw"),
    number("difference", "of the feature", "mean of b minus a"),
    number("sd_difference", "of the feature", "standard deviation of b minus a"),
    number("distance", "of the feature", "mean absolute difference"),
    number("correlation", "-1 to 1", "over all frames that both saw"),
    number("correlation_median", "-1 to 1", "median of the clips' own correlations"),
    number(
        "lag_s",
        "s",
        "how much later b is, in 25ths: median of clips that both saw for 3 s; empty "
        "where it may be a second or more",
    ),
)
COMPARED_CLIPS = (
    text("clip_id", "of store a"), text("clip_b", "of store b"),
    text("status_a", "ok, no_face, no_sound, failed"),
    text("status_b", "ok, no_face, no_sound, failed"),
    number("both_s", "s", "time that both saw"), number("only_a_s", "s", "time that only a saw"),
    number("only_b_s", "s", "time that only b saw"),
    number("neither_s", "s", "time that neither saw"),
    number("correlation", "-1 to 1", "mean over the columns"),
    number("distance", "of the features", "mean absolute difference over frames and columns"),
    text("farthest", "the column with the greatest distance"),
)  # fmt: skip
