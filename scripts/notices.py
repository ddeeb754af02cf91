"""The components that ONNX Runtime's ThirdPartyNotices.txt lists: names, sources, and the licences whose text stands there.

A licence is recognised by words that its text cannot do without; nothing is looked up elsewhere. A component whose
licence is not recognised has none in the list: its text is in the notices.
"""

import re

RULE = re.compile(r"^_{3,}[ \t]*$", re.MULTILINE)
# What comes after a component's name on its line.
AFTER_NAME = re.compile(r"[ ,(]*(https?://\S+)?( is licensed under .*| Is Public Domain| is)?$")
ADDRESS = re.compile(r"https?://\S+")
# A licence (SPDX, or its own name where SPDX has none) and words of its text, all of which must be there.
LICENCES = (
    ("Apache-2.0", "apache license", "version 2.0"),
    ("Apache-2.0", "www.apache.org/licenses/ terms and conditions for use"),
    ("BSD-2-Clause", "redistribution and use in source and binary forms", "source code must retain"),
    ("BSD-3-Clause", "redistribution and use in source and binary forms", "be used to endorse or promote products"),
    ("BSD-3-Clause", "bsd-3-clause license"),
    ("BSL-1.0", "boost software license - version 1.0"),
    ("CC-PDDC", "copyright-only dedication (based on united states law)"),
    ("HPND", "permission to use, copy, modify, and distribute this software and its associated documentation"),
    ("HPND", "permission to use, copy, modify and distribute this software and its documentation for any purpose"),
    ("ISC", "isc license", "permission to use, copy, modify, and/or distribute this software for any purpose"),
    ("Intel Simplified Software License", "intel simplified software license"),
    ("MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("MIT", "mit license"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("NCSA", "university of illinois/ncsa open source license"),
    ("Public domain", "dedicated to the public domain by the authors"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("Zlib", "the origin of this software must not be misrepresented", "altered source versions must be plainly marked"),
)
# The text of the first contains that of the second, which is then not a licence of its own.
CONTAINS = (("BSD-3-Clause", "BSD-2-Clause"), ("NCSA", "MIT"), ("NCSA", "BSD-2-Clause"))


def components(notices):
    """A list of {name, source, licences}, in the order of the notices; `source` is None where no address stands."""
    return [_component(section) for section in RULE.split(notices)[1:] if section.strip()]


def _component(section):
    first, *others = [line.strip() for line in section.splitlines() if line.strip()]
    address = ADDRESS.search(first) or (ADDRESS.fullmatch(others[0]) if others else None)
    return {"name": AFTER_NAME.sub("", first), "source": address and address[0].rstrip(","), "licences": _licences(section)}


def _licences(section):
    text = " ".join(re.sub(r"[/#*]{2,}|^[ \t]*[*#]+ ", " ", section, flags=re.MULTILINE).lower().split())
    text = re.sub(r"(?<!http:)(?<!https:)//", "", text)
    found = {licence for licence, *words in LICENCES if all(word in text for word in words)}
    return sorted(found - {inner for outer, inner in CONTAINS if outer in found})
