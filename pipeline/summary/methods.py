"""The paragraph of a paper on how the numbers were made, from what is stored, never typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from facer.pipeline.summary.output import SETTINGS, read_settings
from facer.pipeline.summary.summarise import contents_sha256
from facer.stages.summary.config import SummaryConfig
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import Provenance, network_setting, networks_of
from facer.storage.text.typed_json import from_json

_DIGESTS = ("sha256", "card_sha256")  # that the sentence of a network tells


def methods_paragraph(store: FeatureStore, stats: Path | None) -> tuple[str, str]:
    """Return the paragraph and its BibTeX; ``stats`` is the folder of a summary."""
    sentences = [*_features(store), *_coverage(store)]
    if stats is not None:
        sentences += _summary(stats, store)
    text = " ".join(sentences)
    bibtex = _BIBTEX.format(version=_version(store.provenance))
    return text, bibtex + (_BIBTEX_KOLLIAS if _KOLLIAS in text else "")


def _version(made: Provenance) -> str:
    from facer import __version__

    return made.facer_version or __version__


def _features(store: FeatureStore) -> list[str]:
    made, n = store.provenance, len(store.feature_names)
    tool = made.settings.get("imported")
    if tool:
        scale = made.settings.get("au_scale")
        told = f" Action units are on the scale of that tool ({scale})." if scale else ""
        return [f"Facial features ({n} per frame) were measured with {tool} and read into facer "
                f"{_version(made)} (The facer developers).{told}"]  # fmt: skip
    if made.of_sound:
        return _sound(made, n)
    found = [
        f"Facial features ({n} per frame: {', '.join(store.feature_names)}) were measured with "
        f"facer {_version(made)}.",
        f"Videos were decoded with {made.decoder or 'OpenCV'}"
        f"{f' {made.libav_version}' if made.libav_version else ''} ({made.frame_policy}).",
        f"Faces were detected with {made.detector} (SHA-256 {made.detector_sha256[:12]}), "
        f"{_POLICIES.get(made.face_policy, made.face_policy)}.",
        *_networks(made),
    ]
    said = {network_setting(name, what) for name in networks_of(made.settings) for what in _DIGESTS}
    rest = {k: v for k, v in sorted(made.settings.items()) if k not in said}
    if rest:
        kept = ", ".join(f"{name} {value}" for name, value in rest.items())
        found.append(f"Further settings: {kept}.")
    if store.weak_features:
        weak = ", ".join(store.weak_features)
        found.append(f"These features were learnt from weak labels: {weak}.")
    return found


def _networks(made: Provenance) -> list[str]:
    """A sentence a network: facer's own, or one that a model card describes."""
    networks = {n: said for n, said in networks_of(made.settings).items() if "sha256" in said}
    found = []
    for name, said in (networks or {made.rec: {"sha256": made.rec_sha256}}).items():
        digest, card = said["sha256"], said.get("card_sha256", "")
        found.append(
            f"Features were computed by the network {name} (SHA-256 {digest[:12]}), its crops and "
            f"outputs as its model card (SHA-256 {card[:12]}) has them."
            if card else
            f"Features were computed on faces aligned to {made.alignment} by the affect "
            f"representation extractor {name} (SHA-256 {digest[:12]}), a network after {_KOLLIAS}."
        )  # fmt: skip
    return found


def _sound(made: Provenance, n_columns: int) -> list[str]:
    weights = f" (SHA-256 {made.rec_sha256[:12]})" if made.rec_sha256 else ""
    own = {k: v for k, v in sorted(made.settings.items()) if k not in ("modality", "rate_hz")}
    kept = ", ".join(f"{name} {value}" for name, value in own.items())
    return [
        f"Features of the sound ({n_columns} per window: {made.rec}{weights}) were measured with "
        f"facer {_version(made)} over {made.frame_policy}.",
        f"Sound was decoded with {made.decoder} {made.libav_version}, its channels averaged, and "
        f"brought to {made.settings['rate_hz']} Hz.",
        *([f"Further settings: {kept}."] if kept else []),
    ]


_POLICIES = {
    "track": "followed over the clip (the face that dominates it)",
    "largest": "the largest face of each frame was taken",
    "central": "the most central face of each frame was taken",
    "all": "every face was followed as a sequence of its own",
}


def _coverage(store: FeatureStore) -> list[str]:
    records = store.records
    frames, valid = (sum(getattr(r, name) for r in records) for name in ("n_frames", "n_valid"))
    _, empty, failed = (sum(r.status == s for r in records) for s in store.provenance.statuses)
    share = f"{valid / frames:.1%}" if frames else "none"
    had_none, what, frame = "showed no face", "a face", "frames"
    if store.provenance.of_sound:
        had_none, what, frame = "had no sound", "sound", "windows"
    return [
        f"Of {len(records)} clips, {failed} could not be read and {empty} {had_none}; {what} was "
        f"measured in {share} of {frames} {frame}, and {frame} without "
        f"{'one' if what == 'a face' else 'it'} were treated as missing."
    ]


def _summary(folder: Path, store: FeatureStore) -> list[str]:
    settings = read_settings(folder)
    if settings is None:
        raise FacerError(f"{folder}: found no summary there, expected a folder of summarise")
    where = f"{folder / SETTINGS}"
    s = from_json(SummaryConfig, settings.get("settings"), where, "facer summarise")
    of = from_json(_Summarised, settings, where, "facer summarise")
    if of.store.contents_sha256 not in ("", contents_sha256(store)):
        raise FacerError(
            f"{folder}: found tables of other clips or features than {store.path} has now, "
            "expected tables of these; run facer summarise on it again"
        )
    windows = ", ".join(
        f"{name} ({start:g} to {stop:g} s)" for name, (start, stop) in s.windows.items()
    )
    found = [
        f"Statistics were computed over {windows or 'each event or whole clip'}"
        f"{_counted_from(of) if s.windows or s.baseline else ''}, every frame "
        "weighted by its duration (half the time to each neighbour, at most 1.5 median frame "
        "intervals); nothing was interpolated for them.",
        f"A window was left empty when less than {100 * s.min_valid:.6g}% of it was measured.",
    ]
    if s.baseline is not None:
        start, stop = s.baseline
        how = "the difference to it"
        if s.scale == "logit":
            how += ", for probabilities of the logits"
        back = ("; where it was missing, the median of the participant's other baselines was used"
                if s.baseline_fallback == "participant" else "")  # fmt: skip
        found.append(
            f"The baseline is the median from {start:g} to {stop:g} s, required to be measured for "
            f"{s.min_baseline:g} s{back}; values are given as {how}."
        )
    found += _left_out(of)
    if of.thresholds:
        by_value: dict[float, list[str]] = {}
        for name, value in of.thresholds.items():
            by_value.setdefault(value, []).append(name)
        told = "; ".join(f"{value:g} for {', '.join(names)}" for value, names in by_value.items())
        found.append(
            f"Episodes are stretches of .1 s or more above a threshold ({told}), joined over "
            f"unseen gaps of up to {s.max_gap:g} s."
        )
    drawn = (
        f" with 95 % bootstrap intervals over {of.unit}s ({s.resamples} resamples, seed {s.seed}; "
        "percentiles expanded for their number, Hesterberg 2015)"
    )
    found.append(f"Group means are means of {of.unit}s' means{drawn if s.resamples else ''}.")
    return found


@dataclass(frozen=True)
class _Store:
    """Of which store tables are; those of earlier versions do not say it."""

    contents_sha256: str = ""


@dataclass(frozen=True)
class _Summarised:
    """What settings.json says beside the settings."""

    thresholds: Mapping[str, float] = field(default_factory=dict)  # the usual ones too
    sha256: Mapping[str, str] = field(default_factory=dict)  # of design, events and marks
    clips: Mapping[str, int] = field(default_factory=dict)  # by status
    counted_from: Mapping[str, int] = field(default_factory=dict)  # clips: start, onset, event
    unit: str = "participant"  # or clip, where the design names nobody
    store: _Store = _Store()


def _counted_from(of: _Summarised) -> str:
    """What the times of windows count from, of how many clips where that differs."""
    told = [
        f"{what}{f' ({of.counted_from[name]} clips)' if len(of.counted_from) > 1 else ''}"
        for name, what in (
            ("event", "each event"), ("onset", "the onset of the stimulus"),
            ("start", "the beginning of the video"),
        ) if name in of.counted_from
    ]  # fmt: skip
    return f", in seconds from {' or '.join(told)}" if told else ""


def _left_out(of: _Summarised) -> list[str]:
    found = []
    if of.clips:
        excluded, absent = (of.clips.get(name, 0) for name in ("excluded", "not_in_store"))
        also = f" and {absent} had no features" if absent else ""
        found.append(f"The statistics are of {sum(of.clips.values())} clips, of which {excluded} "
                     f"were excluded by hand{also}.")  # fmt: skip
    if marks := of.sha256.get("marks"):
        found.append(f"What was marked by eye was left out (table of marks: SHA-256 {marks[:12]}).")
    return found


_KOLLIAS = "Kollias et al. (2023)"
_BIBTEX = """\
@software{{facer,
  author = {{{{The facer developers}}}},
  title = {{facer: cached facial affect features, and light heads trained on them}},
  version = {{{version}}}
}}
"""
_BIBTEX_KOLLIAS = """\
@inproceedings{kollias2023facernet,
  author = {Kollias, Dimitrios and Psaroudakis, Andreas and Arsenos, Anastasios and
            Theofilou, Paraskevi},
  title = {FaceRNET: a facial expression intensity estimation network},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition
               Workshops},
  year = {2023}
}
"""
