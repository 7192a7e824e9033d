// Package test runs Parti against real nats-servers: one node and clusters,
// over real sockets, with processes that are killed and frozen.
package test

import _ "github.com/nats-io/nats-server/v2/server" // the version to test with, until the first test imports it
