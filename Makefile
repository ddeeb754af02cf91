# make run     set up everything, then serve on 127.0.0.1:8080 with ./data
# make test    set up everything, then run every test, with SQLite and with a real Postgres
# make setup   the set-up alone: toolchain check, runtime, models, test photos, release build

PYTHON ?= python3
CARGO ?= cargo
TARGET = $${CARGO_TARGET_DIR:-target}
BINARY = $(TARGET)/release/semblance

.PHONY: setup run test image-check clients fmt lint doc book sbom dist install deb deb-check secrets pin clean

setup:
	$(PYTHON) scripts/setup.py --with-photos
	$(CARGO) build --release --locked

run: setup
	exec $(BINARY) serve

# The profile `ci` has optimized dependencies, debug assertions and overflow checks. Skipped checks are listed at the end.
test:
	@rm -f $(TARGET)/skipped-tests.txt $(TARGET)/figures.txt
	$(PYTHON) scripts/setup.py --with-tests
	$(PYTHON) scripts/manifests.py --prepare
	$(PYTHON) scripts/tests/run.py
	$(PYTHON) scripts/manifests.py
	$(PYTHON) scripts/postgres.py run -- $(CARGO) test --profile ci --locked --no-fail-fast
	$(PYTHON) tests/clients/run.py --prepare
	$(PYTHON) tests/clients/run.py --quick --binary $(TARGET)/ci/semblance
	$(PYTHON) scripts/dist.py --binary $(TARGET)/ci/semblance --output $(TARGET)/ci/dist
	$(PYTHON) scripts/try_dist.py $(TARGET)/ci/dist/semblance-*.tar.gz .cache/photos/person_a_1.jpg
	@$(PYTHON) scripts/skipped.py

# Builds the image with the release build in place of its first stage, and runs it as docker-compose.yml and packaging/kubernetes do.
image-check: setup
	$(PYTHON) scripts/manifests.py --prepare
	$(PYTHON) scripts/setup.py --with-tests
	$(PYTHON) scripts/try_image.py --binary $(BINARY)

# Every HTTP client and reverse proxy that this machine has, in full; `make test` runs a quick form.
clients: setup
	$(PYTHON) tests/clients/run.py --prepare
	$(PYTHON) tests/clients/run.py

fmt:
	$(CARGO) fmt

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --profile ci --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --profile ci --no-deps --document-private-items --locked

# The bill of materials of the server, CycloneDX: target/sbom.json.
sbom:
	$(PYTHON) scripts/sbom.py

# One archive for machines of this kind, in target/dist: program, models, documents, licenses, bill of materials, installer.
dist: setup
	$(PYTHON) scripts/dist.py

# Installs as the archive does: PREFIX, default /opt/semblance, with a systemd unit; DESTDIR for packages.
install: dist
	$(TARGET)/dist/semblance-*/install.sh

# A Debian package of the same files, in target/debian. Needs `cargo install cargo-deb --version 3.8.0 --locked`.
deb: dist
	rm -rf $(TARGET)/dist/stage
	DESTDIR=$(TARGET)/dist/stage UNIT_DIR=/usr/lib/systemd/system COMMAND_DIR=/usr/bin \
		$(TARGET)/dist/semblance-*/install.sh
	$(CARGO) deb --no-build --locked

# Installs that package in a minimal Debian, runs the server as its unit does, and removes it.
deb-check: deb
	$(PYTHON) scripts/setup.py --with-photos
	$(PYTHON) scripts/try_deb.py target/debian/semblance_*.deb

# A book of the documents in target/book; needs mdbook.
book:
	$(PYTHON) scripts/docs.py --book
	mdbook build

# Random secrets for docker-compose.yml; those that exist are kept. The containers' users have other ids
# than ours and must read the files, so the files are readable and the folder shuts everybody else out.
secrets:
	@mkdir -p -m 700 secrets
	@for name in postgres_admin_password postgres_password sealing_key; do \
		file=secrets/$$name.txt; \
		if [ -e $$file ]; then echo "$$file: already here"; continue; fi; \
		$(PYTHON) -c 'import secrets; print(secrets.token_hex(32))' > $$file.part && \
			chmod 444 $$file.part && mv $$file.part $$file && echo "$$file: made" || exit 1; \
	done

# The images of Dockerfile and docker-compose.yml by digest. Needs docker buildx and the registry.
pin:
	$(PYTHON) scripts/pin_images.py

clean:
	$(CARGO) clean
	find scripts -name __pycache__ -exec rm -rf {} +
