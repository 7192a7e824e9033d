// What users test their handlers with. A module of its own, so that a program
// that does not test with it does not require it.
module github.com/parti-go/parti/partitest

go 1.26.0

replace github.com/parti-go/parti => ..
