"""The Kubernetes manifests are objects of the Kubernetes API, and a mistake in one is found."""

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import manifests  # noqa: E402

FILE = manifests.MANIFESTS / "semblance.yaml"


@unittest.skipUnless(manifests.is_prepared(), "no schemas; `scripts/manifests.py --prepare` fetches them")
class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        first, *_, last = manifests.versions()
        cls.apis = [manifests.Api(first), manifests.Api(last)]

    def found(self, text):
        """The faults that one text has, by the oldest and the newest version of Kubernetes."""
        return manifests.faults(manifests.load(text), self.apis)

    def changed(self, before, after):
        text = FILE.read_text(encoding="utf-8")
        self.assertIn(before, text)
        return text.replace(before, after, 1)

    def test_the_files_are_right(self):
        found, count = manifests.check(sorted(manifests.MANIFESTS.glob("*.yaml")))
        self.assertEqual(found, [])
        self.assertGreaterEqual(count, 4)

    def test_mistakes_are_found(self):
        for before, after, fault in [
            ("replicas: 2", "replica: 2", "spec: Additional properties are not allowed ('replica' was unexpected)"),
            ("periodSeconds: 10", "periodSecond: 10", "livenessProbe: Additional properties are not allowed"),
            ("readOnlyRootFilesystem", "readOnlyRootFileSystem", "securityContext: Additional properties are not allowed"),
            ("replicas: 2", "replicas: two", "spec.replicas: 'two' is not of type 'integer'"),
            ('value: "0.0.0.0:9090"', "value: 9090", "env.0.value: 9090 is not of type 'string'"),
            ("runAsNonRoot: true", 'runAsNonRoot: "true"', "runAsNonRoot: 'true' is not of type 'boolean'"),
            ("serviceName: semblance", "serviceName: [semblance]", "serviceName: ['semblance'] is not of type 'string'"),
            ("selector:\n    matchLabels: {app: semblance}\n  template", "template", "'selector' is a required property"),
            ("kind: PodDisruptionBudget", "kind: DisruptionBudget", "there is no DisruptionBudget of policy/v1"),
            ("apiVersion: policy/v1", "apiVersion: policy/v1beta1", "there is no PodDisruptionBudget of policy/v1beta1"),
            ("kind: Service", "sort: Service", "apiVersion or kind is missing"),
            ("policyTypes: [", "policyType: [", "spec: Additional properties are not allowed ('policyType' was unexpected)"),
        ]:
            with self.subTest(after):
                found = self.found(self.changed(before, after))
                self.assertTrue(any(fault in one for one in found), found)

    def test_a_key_that_is_there_twice_is_a_fault(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "twice.yaml")
            file.write_text(self.changed("replicas: 2", "replicas: 2\n  replicas: 3"))
            found, _ = manifests.check([file])
        self.assertIn("duplicate key", found[0])

    def test_modes_are_octal(self):
        (secret,) = [volume for volume in self.pod()["volumes"] if "secret" in volume]
        self.assertEqual(secret["secret"]["defaultMode"], 0o440)

    @unittest.skipUnless(shutil.which("kubectl") or shutil.which("kustomize"), "neither kubectl nor kustomize is here")
    def test_a_mistake_in_the_kustomization_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(manifests.MANIFESTS, folder, dirs_exist_ok=True)
            file = Path(folder, "kustomization.yaml")
            self.assertEqual(manifests.check([file])[0], [])
            file.write_text(file.read_text().replace("resources:", "resource:"))
            self.assertEqual(len(manifests.check([file])[0]), 1)

    def objects(self):
        return {found["kind"]: found for found in manifests.load(FILE.read_text(encoding="utf-8"))}

    def pod(self):
        return self.objects()["StatefulSet"]["spec"]["template"]["spec"]

    def test_the_objects_fit_together(self):
        """What schemas cannot say: names of ports, volumes and labels."""
        objects, pod = self.objects(), self.pod()
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(ports[container[probe]["httpGet"]["port"]], 9090)
        (published,) = objects["Service"]["spec"]["ports"]
        self.assertEqual((published["targetPort"], ports["http"]), ("http", published["port"]))
        policy = objects["NetworkPolicy"]["spec"]
        self.assertEqual({rule["ports"][0]["port"]: "from" in rule for rule in policy["ingress"]}, {"http": False, "admin": True})
        labels = objects["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
        selectors = [objects["Service"]["spec"]["selector"], policy["podSelector"]["matchLabels"]]
        selectors += [objects[kind]["spec"]["selector"]["matchLabels"] for kind in ("StatefulSet", "PodDisruptionBudget")]
        self.assertEqual(selectors, [labels] * 4)
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in objects["StatefulSet"]["spec"]["volumeClaimTemplates"]}
        self.assertEqual(volumes, {mount["name"] for mount in container["volumeMounts"]})


if __name__ == "__main__":
    unittest.main()
