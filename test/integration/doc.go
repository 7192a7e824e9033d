// Package integration is the library of failures on real sockets: each test is one
// pattern in which fleets fail, by name. The same patterns run over many seeds in
// package sim. Intervals are shorter than a user's, so that detection and windows take
// seconds; what is asserted is not weaker for that.
package integration
