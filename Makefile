# A target with a ## comment is printed by make help.
GO ?= go
SHELL = /bin/bash
FUZZTIME ?= 5m
RESULTS ?= $(CURDIR)/bin/conformance.ndjson
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
ROOMS = $$($(GO) list ./... | grep -v -e /apptest -e /cmd/ -e /internal/ -e /examples)

.DEFAULT_GOAL := help
.PHONY: help build run check fmt vet lint arch lines test race fuzz bench bench-report conformance prove stale reference loadtest visitors-report clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the three programs into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

run: ## run the bidder with the sample shop
	$(GO) run ./cmd/bidder

check: fmt vet arch test ## run what must pass before a commit, and fail if it changed a tracked file
	@git diff --exit-code --stat

fmt: ## fail if gofmt would change a file
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }

vet: ## run go vet
	$(GO) vet ./...

lint: ## run staticcheck (the first run builds it, which takes about two minutes)
	$(STATICCHECK) ./...

arch: ## check import directions, package comments, sizes and dependencies
	$(GO) test ./internal/arch

lines: ## print the lines of non-test code of each room, without comments and blank lines
	@$(GO) test -count=1 -v -run 'TestLines$$' ./internal/arch -args -lines | grep -v -e '^---' -e '^===' -e '^ok' -e PASS

test: ## run all tests in random order, including those of the other modules
	$(GO) test -shuffle=on ./...
	@for m in $$(git ls-files '*/go.mod' | xargs -n1 dirname); do (cd $$m && $(GO) test -shuffle=on ./...) || exit 1; done

race: ## run the tests of the rooms with the race detector
	$(GO) test -race -shuffle=on $(ROOMS)

fuzz: ## run every fuzz test for FUZZTIME (5m), one after the other
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; done

bench: ## run the benchmarks, with allocation counts
	$(GO) test -run '^$$' -bench . -benchmem ./rtb ./exchange ./privacy ./segments ./campaigns ./creatives ./pacing ./bidder ./tracking ./events ./journal
	cd internal/bench && $(GO) test -run '^$$' -bench . -benchmem .

bench-report: build ## compare the bidder with a bare handler and write docs/performance.md (about 6 minutes; ONLY=text ROUNDS=n OUT=file)
	$(GO) test -run '^$$' -bench Path -benchtime 20000x ./bidder > bin/bench.txt
	$(GO) test -run '^$$' -bench Cores -benchtime 7x ./bidder >> bin/bench.txt
	bin/loadtest bench --bidder bin/bidder --rounds $(or $(ROUNDS),15) --only "$(ONLY)" --benchmarks bin/bench.txt --out $(or $(OUT),docs/performance.md)

conformance: ## run the tests of the rooms and generate docs/conformance.md from their outcomes
	@rm -f $(RESULTS); mkdir -p $(dir $(RESULTS))
	CONFORMANCE_RESULTS=$(RESULTS) $(GO) test -count=1 $$($(GO) list ./... | grep -v -e /cmd/ -e /internal/) || true
	CONFORMANCE_RESULTS=$(RESULTS) CONFORMANCE_WRITE=1 $(GO) test -count=1 -run 'TestDocument$$' ./internal/conformance

prove: ## run the long proofs: every test must fail without its rule (about an hour)
	@set -o pipefail; PROVE=1 $(GO) test -count=1 -timeout 110m -v -run 'Prove' ./... | grep -v 'no tests to run' | tee prove.out
	PROVE=1 $(GO) test -race -count=1 -timeout 60m -v -run 'TestProveLedger$$' ./pacing
	@grep -q '^--- PASS: TestProve' prove.out && ! grep -q '^--- SKIP' prove.out || { echo "not everything was proven: see what failed or was skipped (the full disk needs root)"; exit 1; }

stale: ## report the proofs and the conformance document that no longer match the code
	PROVE=1 $(GO) test -count=1 -run 'TestProve(RowsFit|DocumentIsCurrent)$$' ./internal/conformance

reference: ## generate docs/reference.md from the source
	$(GO) test ./internal/reference -update

loadtest: ## send 2,000 requests a second for 15 s to a running bidder
	$(GO) run ./cmd/loadtest attack --target http://127.0.0.1:8080/openrtb2/demo --rate 2000 --duration 15s

visitors-report: ## print the size and speed of the view with VISITORS (1000000) visitors, and of a bidder under EVENTS and BIDS (5000) a second
	VISITORS=$${VISITORS:-1000000} $(GO) test -count=1 -timeout 110m -run 'TestVisitorsReport$$' -v -p 1 ./apptest ./segments

clean: ## remove the built programs and the local data
	rm -rf bin data
