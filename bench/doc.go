// Package bench measures Parti. Each measurement is a command below this
// directory that prints a table; none is a test with a time limit.
package bench

import _ "github.com/nats-io/nats-server/v2/server" // the version to measure with, until the first command imports it
