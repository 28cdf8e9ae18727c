# Every verb prints its one line in `make help`.
GO ?= go
SHELL = /bin/bash
FUZZTIME ?= 5m
RESULTS ?= $(CURDIR)/bin/conformance.ndjson
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
.PHONY: help build run check fmt vet lint arch test race fuzz bench conformance prove stale reference loadtest clean

help: ## show the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the three programs, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

run: ## the bidder with the sample shop
	$(GO) run ./cmd/bidder

check: fmt vet arch test ## everything that must hold before a commit, and a clean tree after
	@git diff --exit-code --stat

fmt: ## fail when gofmt would change a file
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }

vet: ## go vet
	$(GO) vet ./...

lint: ## staticcheck (builds it on first use: about two minutes)
	$(STATICCHECK) ./...

arch: ## import directions, package comments, sizes, dependencies
	$(GO) test ./internal/arch

test: ## all tests, in random order
	$(GO) test -shuffle=on ./...

race: ## all tests but the black-box ones under the race detector
	$(GO) test -race -shuffle=on $$($(GO) list ./... | grep -v apptest)

fuzz: ## every fuzz test for FUZZTIME (5m), one after the other
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; done

bench: ## benchmarks with allocation counts
	$(GO) test -run '^$$' -bench . -benchmem ./rtb ./exchange ./privacy ./segments ./campaigns ./creatives ./pacing ./bidder ./tracking ./events ./journal
	cd internal/bench && $(GO) test -run '^$$' -bench . -benchmem .

conformance: ## run the rooms' tests and write docs/conformance.md from what they showed
	@rm -f $(RESULTS); mkdir -p $(dir $(RESULTS))
	CONFORMANCE_RESULTS=$(RESULTS) $(GO) test -count=1 $$($(GO) list ./... | grep -v -e /cmd/ -e /internal/) || true
	CONFORMANCE_RESULTS=$(RESULTS) CONFORMANCE_WRITE=1 $(GO) test -count=1 -run 'TestDocument$$' ./internal/conformance

prove: ## the long proofs (tests named Prove), then every fuzz test for FUZZTIME
	@set -o pipefail; PROVE=1 $(GO) test -count=1 -timeout 90m -v -run 'Prove' ./... | grep -v 'no tests to run' | tee prove.out
	@grep -q '^--- PASS: TestProve' prove.out && ! grep -q '^--- SKIP' prove.out || { echo "nothing was proven"; exit 1; }
	$(MAKE) fuzz

stale: ## report the proofs and the conformance document that no longer match the code
	PROVE=1 $(GO) test -count=1 -run 'TestProve(RowsFit|DocumentIsCurrent)$$' ./internal/conformance

reference: ## write docs/reference.md from the source
	$(GO) test ./internal/reference -update

loadtest: ## 2,000 requests a second for 15 s against a running bidder
	$(GO) run ./cmd/loadtest attack --target http://127.0.0.1:8080/openrtb2/demo --rate 2000 --duration 15s

clean: ## built programs and local data
	rm -rf bin data
