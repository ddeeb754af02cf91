"""What ONNX Runtime's notices list: every component, with the licences whose text stands there."""

import sys
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
import notices

MIT = """Permission is hereby granted, free of charge, to any person
obtaining a copy of this software"""
BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted:
 * Redistributions of source code must retain the above copyright notice"""
CLAUSE = """
Neither the name nor those of contributors may be used to
// endorse or promote products derived from this software"""


class Notices(unittest.TestCase):
    def test_names_sources_and_licences(self):
        text = "\n\n_____\n\n".join(
            [
                "THIRD PARTY NOTICES\n\nMIT License",
                f"google/one\n\n{MIT}",
                f"two, https://example.org/two/\n\n{BSD}",
                f"three\n\nhttps://example.org/three\n\n{BSD}{CLAUSE}",
                "four is licensed under the MIT License\n\nCopyright",
                f"five\n\nApache License\n  Version 2.0, January 2004\n\n{MIT}",
                f"six\n\nUniversity of Illinois/NCSA\nOpen Source License\n{MIT}\n{BSD}{CLAUSE}",
                "seven\n\nAll rights reserved.",
                "  ",
            ]
        )
        expected = [
            ("google/one", None, ["MIT"]),
            ("two", "https://example.org/two/", ["BSD-2-Clause"]),
            ("three", "https://example.org/three", ["BSD-3-Clause"]),
            ("four", None, ["MIT"]),
            ("five", None, ["Apache-2.0", "MIT"]),
            ("six", None, ["BSD-3-Clause", "NCSA"]),
            ("seven", None, []),
        ]
        found = [(part["name"], part["source"], part["licences"]) for part in notices.components(text)]
        self.assertEqual(found, expected)
        self.assertEqual(notices.components("no rule"), [])

    FETCHED = SCRIPTS.parent / "models" / "fetched" / "onnxruntime-ThirdPartyNotices.txt"

    @unittest.skipUnless(FETCHED.is_file(), "nothing is set up yet")
    def test_each_component_of_the_pinned_runtime_has_a_licence(self):
        components = notices.components(self.FETCHED.read_text(encoding="utf-8"))
        self.assertEqual(len(components), 67)
        self.assertEqual([part["name"] for part in components if not part["licences"]], [])
        licences = {part["name"]: part["licences"] for part in components}
        self.assertEqual(licences["protocolbuffers/protobuf"], ["BSD-3-Clause"])
        self.assertEqual(licences["The LLVM Compiler Infrastructure"], ["NCSA"])
        self.assertEqual(licences["abseil-cpp"], ["Apache-2.0"])
        self.assertNotIn("telemetry", " ".join(licences))


if __name__ == "__main__":
    unittest.main()
