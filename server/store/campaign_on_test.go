//go:build campaign

package store_test

// campaignFactor is how much longer campaigns last than the share of them that runs with every test.
const campaignFactor = 250
