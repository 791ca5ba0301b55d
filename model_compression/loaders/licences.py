"""On which terms the data sets may be used: what an index and a bundle have to say. Nothing of them is shipped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Terms of one data set.

    Attributes
    ----------
    is_non_commercial
        A model that heard it may not be sold; a bundle says so.
    note
        One sentence for whoever trains on it.
    """

    name: str
    is_non_commercial: bool
    note: str


LICENCES = {
    "medleydb": Licence(
        name="CC BY-NC-SA 4.0", is_non_commercial=True,
        note="MedleyDB audio: non-commercial, share alike; cite Bittner et al., ISMIR 2014.",
    ),
    "musdb18": Licence(
        name="academic use; most tracks CC BY-NC-SA", is_non_commercial=True,
        note="MUSDB18: educational purposes only, single tracks have terms of their own; cite Rafii et al., 2017.",
    ),
    "moisesdb": Licence(
        name="CC BY-NC-SA 4.0", is_non_commercial=True,
        note="MoisesDB: non-commercial research, share alike; cite Pereira et al., ISMIR 2023.",
    ),
    "slakh2100": Licence(
        name="CC BY 4.0", is_non_commercial=False,
        note="Slakh2100: attribution; cite Manilow et al., WASPAA 2019.",
    ),
    "cambridge_mt": Licence(
        name="per song, educational", is_non_commercial=True,
        note="Cambridge Music Technology: educational use, terms per song: read each song's page.",
    ),
    "enst_drums": Licence(
        name="research use", is_non_commercial=True,
        note="ENST-Drums: research only, by agreement; cite Gillet and Richard, ISMIR 2006.",
    ),
    "dsd100": Licence(
        name="academic use", is_non_commercial=True,
        note="DSD100: educational purposes only; cite Liutkus et al., 2017.",
    ),
    "ami": Licence(
        name="CC BY 4.0", is_non_commercial=False,
        note="AMI meeting corpus: attribution; cite Carletta et al., 2005.",
    ),
    "stems": Licence(
        name="unknown", is_non_commercial=True,
        note="Stems of your own: you know their terms; a bundle counts them as non-commercial.",
    ),
}  # fmt: skip
