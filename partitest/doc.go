// Package partitest helps to test handlers: a store in memory, leases that can
// be revoked, and a fleet that can be broken on purpose.
package partitest
