"""MedleyDB's instrument labels (its taxonomy, and a few other names for the same) and the stem that each belongs to.

As in MUSDB18, percussion without pitch is drums, and mallets and timpani are other; a bowed or plucked double bass is
bass, other low instruments are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# What holds all instruments at once, or nobody knows which.
UNSPLIT = frozenset({"Main System", "Unlabeled"})

_LABELS = {
    "vocals": """
        male singer, female singer, male speaker, female speaker, male rapper, female rapper, beatboxing, vocalists,
        male screamer, female screamer, male vocalist, female vocalist, choir, crowd
    """,
    "drums": """
        triangle, sleigh bells, cowbell, cabasa, high hat, gong, guiro, gu, cymbal, castanet, claps, snaps, rattle,
        shaker, maracas, toms, snare drum, kick drum, bass drum, bongo, conga, tambourine, darbuka, doumbek, tabla,
        auxiliary percussion, drum set, drum machine
    """,
    "bass": "electric bass, double bass, bass guitar, synth bass",
    "other": """
        erhu, violin, viola, cello, violin section, viola section, cello section, string section, acoustic guitar,
        banjo, guzheng, harp, harpsichord, liuqin, mandolin, oud, slide guitar, ukulele, zhongruan, sitar, dulcimer,
        yangqin, piano, tack piano, dizi, flute, flute section, piccolo, bamboo flute, panpipes, recorder,
        alto saxophone, baritone saxophone, bass clarinet, clarinet, clarinet section, tenor saxophone,
        soprano saxophone, oboe, english horn, bassoon, bagpipe, trumpet, cornet, trombone, french horn, euphonium,
        tuba, brass section, french horn section, trombone section, horn section, trumpet section, harmonica,
        concertina, accordion, bandoneon, harmonium, pipe organ, melodica, chimes, xylophone, vibraphone, marimba,
        glockenspiel, whistle, timpani, clean electric guitar, distorted electric guitar, lap steel guitar,
        electric piano, electronic organ, synthesizer, theremin, fx/processed sound, scratches, sampler
    """,
}

STEM_OF: Mapping[str, str] = {
    label: stem for stem, labels in _LABELS.items() for label in re.split(r",\s*", labels.strip())
}
