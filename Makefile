.DEFAULT_GOAL := help

GO ?= go
TOOLS := $(CURDIR)/bin
SCHEMATHESIS := $(TOOLS)/schemathesis/bin/st
EXAMPLES ?= 500
PYTHON ?= python3
VENV := $(TOOLS)/venv
EXTRAS := openai,anthropic,otel,settings,pytest
TIME ?= 30m
SEED ?= $(shell date +%s)
# For what takes minutes: a hang shows where it is.
BOUND := timeout --foreground --signal=QUIT --kill-after=30 20m
JEPSEN = $(GO) run ./jepsen -seed $(SEED) -python $(VENV)/bin/python

# Versions of the tools that the checks run; they are no dependencies of the module.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
PROTOVALIDATE := github.com/bufbuild/protovalidate@v1.2.2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-12s %s\n", $$1, $$2 }'

.PHONY: build
build: ## Build bin/hexrd
	$(GO) build -o $(TOOLS)/hexrd ./cmd/hexrd

.PHONY: demo
demo: build ## Build, and show the main job on a three-node cluster
	$(TOOLS)/hexrd dev tour

.PHONY: test
test: ## Run everything that CI runs
	$(MAKE) -j3 build $(SCHEMATHESIS) $(VENV)/installed
	$(MAKE) vet
	$(GO) build -race ./...
	HEXRD_SCHEMATHESIS=$(SCHEMATHESIS) $(GO) test -race -short -p 2 -parallel 6 -timeout 20m ./... # clusters wait more than they compute
	$(BOUND) $(TOOLS)/hexrd dev tour > $(TOOLS)/tour.log || { cat $(TOOLS)/tour.log; exit 1; }
	$(MAKE) test-python
	$(MAKE) -j2 fuzz-short jepsen-short SEED=11

.PHONY: test-long
test-long: $(SCHEMATHESIS) ## Run the Go tests at full length: both log stores, and nodes with the race detector
	HEXRD_SCHEMATHESIS=$(SCHEMATHESIS) $(GO) test -race -p 1 -parallel 4 -timeout 90m ./...

.PHONY: test-python
test-python: build $(VENV)/installed ## Build the Python SDK's wheel, and test it from a clean virtual environment
	cd sdk/python && $(VENV)/bin/mypy && HEXRD_BIN=$(TOOLS)/hexrd $(BOUND) $(VENV)/bin/python -m pytest -q -n 3 --dist worksteal

$(VENV)/installed: sdk/python/pyproject.toml $(shell find sdk/python/src -type f -not -name '*.pyc')
	rm -rf $(VENV) $(TOOLS)/wheel
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --upgrade pip
	$(VENV)/bin/pip wheel -q --no-deps -w $(TOOLS)/wheel ./sdk/python
	cd sdk/python && $(VENV)/bin/pip install -q $$(ls $(TOOLS)/wheel/*.whl)[$(EXTRAS)] --group test
	touch $@

.PHONY: check-python
check-python: ## Run pyright and ruff on the Python SDK, in the environment of test-python
	$(VENV)/bin/pip install -q 'pyright[nodejs]>=1.1.400,<2' 'ruff>=0.12,<1'
	cd sdk/python && $(VENV)/bin/ruff check && $(VENV)/bin/ruff format --check && $(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

.PHONY: bench-python
bench-python: ## Measure what the Python SDK costs, in the environment of test-python
	HEXRD_BIN=$(TOOLS)/hexrd $(VENV)/bin/python sdk/python/bench/get.py

.PHONY: vet
vet: ## Check the code without running it
	$(GO) vet ./...
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w"; exit 1; }

.PHONY: lint
lint: ## Run golangci-lint (needs the Go module proxy)
	$(GO) run $(GOLANGCI_LINT) run

.PHONY: vuln
vuln: ## Run govulncheck (needs its vulnerability database)
	$(GO) run $(GOVULNCHECK) ./...

.PHONY: fuzz
fuzz: ## Fuzz every decoder, and a node, for a minute each (FUZZTIME)
	./fuzz.sh

.PHONY: fuzz-http
fuzz-http: $(SCHEMATHESIS) ## Fuzz three nodes with schemathesis, for some minutes (EXAMPLES)
	HEXRD_SCHEMATHESIS=$(SCHEMATHESIS) HEXRD_EXAMPLES=$(EXAMPLES) $(GO) test ./cmd/hexrd -run TestSchemaFuzzer -count=1 -timeout 60m -v

.PHONY: fuzz-short
fuzz-short: ## Fuzz every decoder, and a node, for two seconds each
	FUZZBUILD=plain FUZZTIME=2s $(BOUND) nice ./fuzz.sh

# From PyPI, in an environment of its own.
$(SCHEMATHESIS): cmd/hexrd/testdata/schemathesis.txt
	python3 -m venv $(TOOLS)/schemathesis
	$(TOOLS)/schemathesis/bin/pip install --quiet --disable-pip-version-check -r cmd/hexrd/testdata/schemathesis.txt
	touch $@

.PHONY: jepsen
jepsen: ## Run real nodes under faults, for TIME (30m), from SEED; FLAGS say more
	$(JEPSEN) -out jepsen-out -time $(TIME) $(FLAGS)

.PHONY: jepsen-short
jepsen-short: ## Do the same for two or three minutes
	$(BOUND) $(JEPSEN) -out jepsen-out/short -runs 3 -run 20s $(FLAGS)

.PHONY: jepsen-upgrade
jepsen-upgrade: ## Do the same while nodes are upgraded from the version of FROM, a commit
	rm -rf $(TOOLS)/old && mkdir -p $(TOOLS)/old && git archive $(FROM) | tar x -C $(TOOLS)/old
	cd $(TOOLS)/old && $(GO) build -tags hexrdfault -o $(TOOLS)/hexrd-old ./cmd/hexrd
	rm -rf $(TOOLS)/old
	$(JEPSEN) -out jepsen-out/upgrade -old $(TOOLS)/hexrd-old -time $(TIME) $(FLAGS)

COMMIT = $$(git rev-parse --short HEAD)$$(git diff --quiet HEAD -- '*.go' go.mod || echo +)
OUT ?= $(TOOLS)/bench.json
LARGE := $(if $(FULL),--secrets 1000000 --rows 10000000)
LOG_STORE ?= wal

.PHONY: jepsen-mutants
jepsen-mutants: ## Put deliberate bugs into copies of the tree: the suite must find each (as root)
	GO=$(GO) jepsen/mutants.sh

.PHONY: bench
bench: build ## Measure the standard table into docs/performance.md and OUT (FULL=1: the large store, LOG_STORE)
	$(TOOLS)/hexrd bench standard $(LARGE) --log-store $(LOG_STORE) --commit $(COMMIT) --page docs/performance.md --out $(OUT)

.PHONY: bench-etcd
bench-etcd: build ## Measure etcd beside hexrd into docs/performance.md (installs Debian's etcd-server)
	command -v etcd || apt-get install -y --no-install-recommends etcd-server
	cd internal/bench/etcd && $(GO) build -o $(TOOLS)/bench-etcd .
	$(TOOLS)/hexrd bench etcd --driver $(TOOLS)/bench-etcd --log-store $(LOG_STORE) --commit $(COMMIT) --page docs/performance.md --out $(TOOLS)/bench-etcd.json

.PHONY: bench-growth
bench-growth: build ## Measure how costs grow with secrets, agents, versions and audit rows, into docs/performance.md
	$(TOOLS)/hexrd bench growth --log-store $(LOG_STORE) --commit $(COMMIT) --page docs/performance.md --out $(TOOLS)/bench-growth.json

.PHONY: bench-go
bench-go: ## Run the benchmarks of packages
	$(GO) test -run '^$$' -bench . ./...

.PHONY: proto
proto: ## Generate the code of all protos (needs protoc)
	$(GO) build -o $(TOOLS)/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	rules=$$($(GO) mod download -json $(PROTOVALIDATE) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/proto/protovalidate; \
	for dir in seal/sealpb fsm/fsmpb node/nodepb cluster/clusterpb api/hexr/v1; do \
		PATH=$(TOOLS):$$PATH protoc -I . -I $$rules --go_out=. --go_opt=paths=source_relative \
			--go-grpc_out=. --go-grpc_opt=paths=source_relative $$dir/*.proto || exit 1; \
	done
