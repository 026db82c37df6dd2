"""Words in the names of label tables' columns, and what they say that a column is.

Those of other languages are written without accents, as :func:`folded` leaves them.
"""

from __future__ import annotations

import re
import unicodedata

_PEOPLE_WORDS = (
    "subject subj sub participant particip ppt person speaker actor actress performer proband "
    "patient client student listener respondent individual volunteer user child vp vpn pid "
    "identity creator sujet sujeto participante voluntario persona paciente sujeito pessoa "
    "soggetto partecipante paziente osoba osoby badany badanego badana badanej pacjent denek kisi "
    "被験者 参加者 協力者 被试 被試 受试者 受試者 参与者 參與者 피험자 참가자 참여자 대상자 "
    "氏名 姓名 성명"
)
_PEOPLE = frozenset(_PEOPLE_WORDS.split())
_PEOPLE_STEMS = (  # probandennummer
    *("proband", "versuchsperson", "testperson", "teilnehm", "uczestni", "katilimc"),
)
_NUMBERED_WORDS = (
    "id ids uid no nr num number code name index idx key numero codigo codice numer kod "
    "番号 コード 名 氏名 编号 編號 号 代码 姓名 번호 코드 명 이름"
)
_NUMBERED = frozenset(_NUMBERED_WORDS.split())
# before the person, where no does not count: no_person
_BEFORE = ("id", "uid", "nr", "code", "numero", "codigo", "codice", "numer", "kod")

ID_REASON = "an id or a number of the row"
_DESIGN = {  # why, and the words that say it
    ID_REASON: "id ids uid uuid guid index idx row nr no num number code key "
    "unnamed rank nummer lfd numero codigo codice numer kod 番号 编号 編號 序号 번호",
    "an age": "age ages alter edad idade eta wiek yas 年齢 年龄 年齡 나이 연령",
    "about the person": "gender sex country ethnicity race nationality language handedness "
    "education height weight bmi birth birthday dob geschlecht sexe sexo genero sesso genere plec "
    "cinsiyet 性別 性别 성별",
    "a fold or group": "fold folds cv kfold group groups block batch cluster site cohort dyad "
    "partition split train training trn dev devel val validation test testing tst holdout "
    "gruppe groupe grupo gruppo grupa grup bloque bloco blocco blok "
    "ブロック 群 グループ 组 組 组别 組別 집단 그룹",
    "a date or time": "year date day month hour time timestamp datetime onset onsets offset start "
    "end stop begin duration dur length latency rt "
    "datum uhrzeit startzeit endzeit beginn ende dauer fecha duree tiempo duracion tempo duracao "
    "durata czas zaman sure 時間 時刻 时间 时刻 时长 시간 시각 秒 초 日付 日期 날짜",
    "the study's design": "condition session trial trials run visit wave item stimulus stim order "
    "phase set subset arm treatment role scene episode season utterance sentence statement "
    "dialogue dialog modality repetition take camera cond bedingung durchgang sitzung reihenfolge "
    "experimenter versuchsleiter condicion sesion ensayo essai prueba condicao sessao condizione "
    "sessione prova deneme "
    "warunek sesja kosul oturum orden ordem ordine kolejnosc sira estimulo stimolo bodziec uyaran "
    "刺激 자극 順序 顺序 순서 条件 條件 試行 セッション 조건 시행 세션",
    "a flag": "exclude excluded bad include included keep valid invalid usable ok drop reject "
    "rejected flag flagged missing consent is has ausschluss "
    "ausgeschlossen exclu exclue excluido excluida excluir escluso esclusa escludi "
    "wykluczony wykluczone wyklucz haric 除外 排除 剔除 제외 incluido incluida "
    "incluir valido valida wazny gecerli 有効 有效 유효 フラグ 是否 여부",
    "a count or a size": "n nframes frames count counts fps framerate rate width size raters "
    "annotators votes seed",
    "who rated": "rater annotator coder judge evaluador avaliador valutatore 評定者 评分者 评定者 "
    "평정자 평가자",
    "how sure a rating is": "confidence kappa icc",
    "of the survey's form": "redcap survey response progress finished complete incomplete status "
    "repeat instance instrument version ip recipient distribution channel "
    "lastpage maxpage viewer",
}  # fmt: skip
_REASONS = {word: reason for reason, words in _DESIGN.items() for word in words.split()}
REASONS_OF_IDS = (None, ID_REASON, "the study's design")  # what a column of ids may sound like
_SPREAD_WORDS = "sd std stdev se sem ci var variance iqr agreement certainty conf"
_SPREADS = frozenset(_SPREAD_WORDS.split())
_UNITS_OF_TIME = frozenset(["ms", "msec", "sec", "secs", "seconds", "minutes"])  # no s: "stai_s"
_NOUNS = (
    "t video clip file frame segment event recording name s ms sec secs seconds min minutes hz px "
    "cm kg years in of the q sum taken k outer inner nested sample reaction lead work elapsed "
    "total rating ratings de del do da di anos anni lat trwania 歳 岁 歲 세 満 만 "
    "実験 实验 實驗 실험 反応 反应 反應 반응 持続 持续 지속"
)
_BESIDE_DESIGN = frozenset(_NOUNS.split()) | _PEOPLE  # the name of a design may have them as well
_KNOWN = _PEOPLE | _NUMBERED | _REASONS.keys() | _BESIDE_DESIGN
_TOGETHER = re.compile(  # words of languages that write no spaces
    "|".join(sorted((word for word in _KNOWN if not word.isascii()), key=len, reverse=True))
)
_PLAIN_LETTERS = str.maketrans("łı", "li")


def folded(text: str) -> str:
    """Return a text in small letters without accents: ``Género`` is ``genero``."""
    letters = unicodedata.normalize("NFKD", text).casefold().translate(_PLAIN_LETTERS)
    bare = "".join(c for c in letters if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFC", bare)


def key_of(name: str) -> str:
    """Return a column's name as it is compared: ``File_ID`` and ``file id`` are ``fileid``."""
    return "".join(c for c in folded(name) if c.isalnum())


def is_nameless(name: str) -> bool:
    """Tell an index column: one without a name, or with the name that pandas or R makes up."""
    made_up = r"(unnamed\W*\d+(_level_\d+)?(\.\d+)*|\.\.\.\d+)?"
    return name == "X" or re.fullmatch(made_up, name.lower()) is not None


def names_people(name: str) -> bool:
    """Tell a name such as ``subject``, ``Participant Private ID`` or ``speakerid``."""
    words = [word.removesuffix("s") for word in words_of(name)]
    if any(word.startswith(_PEOPLE_STEMS) for word in words):
        return True
    if words and words[-1] in _NUMBERED:
        return any(word in _PEOPLE for word in words)
    if words and words[0] in _BEFORE and words_of(name)[-1] in _PEOPLE:  # numero_de_sujeto
        return True
    joined = key_of(name)
    parts = [joined.removesuffix(ending) for ending in ("", "s", *_NUMBERED)]
    parts += [joined.removeprefix(start) for start in _BEFORE]  # IDsujeto
    return any(word in _PEOPLE for word in parts)


def words_of(name: str) -> list[str]:
    """Return the words of a column's name in lower case, without numbers."""
    name = re.sub(r"\bn(º|°|o\.)", "nr ", name, flags=re.IGNORECASE)
    apart = folded(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    words = re.split(r"[\W_]+", _TOGETHER.sub(r"_\g<0>_", apart))
    words = [re.sub(r"^(k?fold|cv|split|partition|time)\d+$", r"\1", word) for word in words]
    return [word for word in words if word and not word.isdecimal()]


def design_reason(name: str) -> str | None:
    """Return why a column is no target by its name, or None: ``onset_s`` is a time."""
    words = words_of(name)
    if words and words[-1] in ("id", "ids", "uid", "uuid", "guid", "index", "idx"):
        return ID_REASON
    if len(words) > 1 and (
        words[-1] in _SPREADS
        or "ci" in words[1:]
        or _REASONS.get(words[-1]) == _REASONS["confidence"]
    ):  # of raters, of a target: joy_sd, joy_ci_low, joy_confidence
        return _REASONS["confidence"]
    if len(words) > 1 and words[-1] in ("complete", "rt"):  # REDCap's state of a form, PsychoPy's
        return _REASONS["complete" if words[-1] == "complete" else "time"]
    if len(words) > 1 and words[-1] in _UNITS_OF_TIME:
        return _REASONS["time"]  # apex_ms
    reasons = [_REASONS[word] for word in words if word in _REASONS]
    others = [word for word in words if word not in _REASONS and word not in _BESIDE_DESIGN]
    return None if others or not reasons else reasons[-1]
