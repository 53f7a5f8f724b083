# Shortcuts; .ci/run is what decides. Nothing here needs more than Go, git and
# a C compiler (the race detector links C).

.DEFAULT_GOAL := build

.PHONY: build
build:
	go build ./...

.PHONY: generate
generate: ## the Go code beside the protos
	tools/generate
