# Everything that is done with this repository. "make" alone lists it.
#
# Each target works on all modules of go.work at once: the package pattern "work"
# of the go command names every package of every module in it.

# Versions of what is not pinned by tools/go.mod.
GOLANGCI_LINT_VERSION := v2.15.0
# A server that is too old for us, to see it refused.
OLD_NATS_VERSION := v2.10.29
# One that is not, for a cluster of two versions.
EARLIER_NATS_VERSION := v2.12.10

# What may be set by the caller.
RUN               ?= .                # the tests to run, as of go test -run
PKG               ?= work             # the packages to test
FUZZTIME          ?= 10s              # for each fuzz test
FLAKE_COUNT       ?= 20               # how often make flake runs everything
FLAKE_AT_ONCE     ?= 2                # packages that it tests at a time: four that run fleets at once leave none of them its seconds
PARTI_SIM_SEEDS   ?= 10000            # seeds of make sim-nightly
PARTI_SIM_MINUTES ?= 10               # virtual minutes of each seed
PARTI_SIM_PATTERNS ?= 20              # times as many seeds of each failure that has a name
VULNDB            ?=                  # a vulnerability database: a directory or a URL; empty: the public one
VULN_STRICT       ?=                  # 1: fail when no database can be reached
EARLIER_COMMIT    ?= 45be117          # another build of Parti, for make skew
SOAK              ?= 30m              # how long make soak goes on
BENCH             ?= .                # the benchmarks to run, as of go test -bench

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
BIN         := $(CURDIR)/.bin
LINT        := $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)
TOOLS       := $(BIN)/.tools
OLD_NATS    := $(BIN)/nats-server-$(OLD_NATS_VERSION)
EARLIER_NATS := $(BIN)/nats-server-$(EARLIER_NATS_VERSION)

# The modules of the work space, as directories below the root, and every module.
MODULES     = $(shell go list -m -f '{{.Dir}}')
ALL_MODULES = $(MODULES) $(CURDIR)/tools
# The same as package patterns for tools that do not know "work".
PATTERNS    = $(patsubst $(CURDIR)%,.%/...,$(MODULES))

# Comments after the defaults above leave spaces behind; strip takes them away.
s = $(strip $($(1)))

# The packages that take longest, most of it waiting, begin first: all else runs beside them.
LONGEST  = $(addprefix ./test/,consumer faults natskv integration cluster source credentials) ./cmd/parti/internal/cli ./partitest ./cmd/parti ./examples/jetstream
PACKAGES = $(if $(filter work,$(PKG)),$(LONGEST)) $(call s,PKG)

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nVariables, with their defaults\n'
	@sed -n 's/^\([A-Z_]*\) *?= *\([^ #]*\) *# \(.*\)/\1 \2 # \3/p' $(MAKEFILE_LIST) | \
		awk '{ name = $$1; val = ($$2 == "#") ? "" : $$2; sub(/^[^#]*# /, ""); printf "  %-18s %-6s %s\n", name, val, $$0 }'

##@ Tests

# Many packages wait for servers and intervals most of the time, so four go side by side.
# Of each three tests at a time: a fleet takes half a core under the race detector, and more
# of them have no seconds left to detect anything in. All is compiled before any of it runs,
# for the same reason; with more memory, which takes less time.
.PHONY: test
test: export PARTI_OLD_NATS_SERVER = $(OLD_NATS)
test: $(OLD_NATS) ## every test of every module, under the race detector
	GOGC=400 go list -race -test -deps -export $(PACKAGES) >/dev/null
	go test -race -p 4 -parallel 3 -timeout 30m -run '$(call s,RUN)' $(PACKAGES)

.PHONY: explore
explore: ## the model, the simulator, the brain of a worker, the strategies, hours of a fleet's life and 10 000 partitions in full, which is without the race detector
	.ci/run-tests '.' ./internal/model/... ./internal/sim ./internal/member ./internal/memkv ./strategy
	.ci/run-tests 'HoursOfLife|TenThousand' . ./test/faults

# Short leaves out no test that may pass only mostly: it is what one goroutine
# explores, which comes out the same each time, that is explored less far.
.PHONY: flake
flake: export PARTI_OLD_NATS_SERVER = $(OLD_NATS)
flake: $(OLD_NATS) ## every test FLAKE_COUNT times with both cores busy: for tests that pass only mostly
	.ci/busy go test -race -short -p $(call s,FLAKE_AT_ONCE) -count=$(call s,FLAKE_COUNT) -timeout=3h -run '$(call s,RUN)' $(PACKAGES)

.PHONY: mutants
mutants: ## take away each safety rule in turn: the simulator must notice
	.ci/run-tests 'Mutant' ./internal/sim/...

.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME
	FUZZTIME='$(call s,FUZZTIME)' .ci/fuzz

.PHONY: sim-nightly
sim-nightly: ## PARTI_SIM_SEEDS simulated fleets of PARTI_SIM_MINUTES virtual minutes each, and the named failures
	PARTI_SIM_SEEDS='$(call s,PARTI_SIM_SEEDS)' PARTI_SIM_MINUTES='$(call s,PARTI_SIM_MINUTES)' \
		PARTI_SIM_PATTERNS='$(call s,PARTI_SIM_PATTERNS)' .ci/run-tests 'Fleet|Seeds|Pattern' -v -timeout=12h ./internal/sim/...

.PHONY: upgrade
upgrade: export PARTI_EARLIER_NATS_SERVER = $(EARLIER_NATS)
upgrade: $(EARLIER_NATS) ## servers of an earlier version, replaced one by one under a fleet
	.ci/run-tests 'Upgraded' -race -v ./test/cluster

.PHONY: skew
skew: ## processes of the build of EARLIER_COMMIT, replaced one by one by this one's, and back
	.ci/skew '$(call s,EARLIER_COMMIT)'

.PHONY: soak
soak: ## for SOAK, everything that can happen to real processes and a cluster of three nodes, by chance
	go run ./bench/consume churn -ways cursor -isolation fence -rate 1000 -for '$(call s,SOAK)'

.PHONY: bench
bench: ## Go benchmarks of every module; the commands in bench/ print the larger measurements
	go test -run '^$$' -bench '$(call s,BENCH)' -benchmem $(call s,PKG)

##@ Code

.PHONY: build
build: ## compile everything
	go build work

.PHONY: vet
vet: ## go vet
	go vet work

.PHONY: fmt
fmt: $(TOOLS) ## format all Go files
	@files=$$(.ci/gofiles); if [ -n "$$files" ]; then \
		$(BIN)/goimports -local github.com/parti-go/parti -w $$files; \
		$(BIN)/gofumpt -modpath github.com/parti-go/parti -w $$files; fi

.PHONY: fmt-check
fmt-check: $(TOOLS) ## fail if a Go file is not formatted, and say which
	@files=$$(.ci/gofiles); bad=""; if [ -n "$$files" ]; then \
		bad=$$({ $(BIN)/goimports -local github.com/parti-go/parti -l $$files; \
		$(BIN)/gofumpt -modpath github.com/parti-go/parti -l $$files; } | sort -u); fi; \
	if [ -n "$$bad" ]; then printf 'not formatted (make fmt does it):\n%s\n' "$$bad" >&2; exit 1; fi

.PHONY: lint
lint: $(LINT) ## golangci-lint with .golangci.yml, and shellcheck on the scripts
	$(LINT) run $(PATTERNS)
	@if command -v shellcheck >/dev/null; then shellcheck .ci/*; \
	else echo 'lint: shellcheck is not installed; the scripts were not checked' >&2; fi

.PHONY: generate
generate: $(TOOLS) ## run go generate in every module, with the pinned tools first in PATH
	PATH="$(BIN):$$PATH" go generate work

.PHONY: tidy
tidy: ## go mod tidy in every module, and go work sync
	@for dir in $(ALL_MODULES); do (cd "$$dir" && GOWORK=off go mod tidy); done
	go work sync

.PHONY: tidy-check
tidy-check: ## fail if go mod tidy would change something
	@for dir in $(ALL_MODULES); do (cd "$$dir" && GOWORK=off go mod tidy -diff); done

.PHONY: vuln
vuln: $(TOOLS) ## look for known vulnerabilities in what the code calls, tests included
	VULNDB='$(call s,VULNDB)' VULN_STRICT='$(call s,VULN_STRICT)' .ci/vuln

##@ Machinery

.PHONY: ci
ci: ## everything that must be green before a commit counts
	.ci/run

.PHONY: tools
tools: $(TOOLS) $(LINT) ## build the pinned tools into .bin

$(TOOLS): tools/go.mod tools/go.sum
	GOWORK=off GOBIN=$(BIN) go -C tools install tool
	@touch $@

# Not in tools/go.mod: its makers ask for that, since its some two hundred modules
# must be those it was tested with.
$(LINT):
	GOWORK=off GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/golangci-lint $@

$(BIN)/nats-server-v%:
	GOWORK=off GOBIN=$(BIN) go install github.com/nats-io/nats-server/v2@v$*
	mv $(BIN)/nats-server $@

.PHONY: clean
clean: ## remove what was built here; the tools too
	rm -rf .bin .artifacts dist
