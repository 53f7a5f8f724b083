# Shortcuts; .ci/run is what decides. Nothing here needs more than Go, git and
# a C compiler (the race detector links C).

.DEFAULT_GOAL := help

# Campaigns run until they are done; COUNT=3 repeats them.
COUNT ?= 1

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

.PHONY: build
build: ## compile and vet everything
	go build ./...
	go vet ./...

.PHONY: generate
generate: ## the Go code beside the protos
	tools/generate

.PHONY: fmt
fmt: ## format Go and protos
	git ls-files -co --exclude-standard '*.go' | grep -v -e '\.pb\.go$$' -e '\.pb\.gw\.go$$' | PATH="$$(tools/get lint):$$PATH" xargs gofumpt -w
	PATH="$$(tools/get buf):$$PATH" buf format --write proto

.PHONY: lint
lint: ## what the linters say of Go and protos
	.ci/run proto format lint

.PHONY: test
test: ## the fast tests
	go test ./...

.PHONY: race
race: ## the fast tests under the race detector
	go test -race -timeout 15m ./...

.PHONY: bench
bench: ## the benchmarks, as ratios to the floor measured beside them
	go test -run '^$$' -bench . -benchtime 3s -timeout 30m ./...

.PHONY: campaign
campaign: ## the long campaigns, at full length
	go test -tags campaign -count $(COUNT) -timeout 0 ./...

.PHONY: ci
ci: ## all of it
	.ci/run
