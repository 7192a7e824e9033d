// Command assign compares assignment strategies, ours and others, in one run, and
// prints tables.
//
//	go run ./bench/assign             bars, tables and speed, but for the largest sizes
//	go run ./bench/assign bars        what is demanded of Sticky, and what it does
//	go run ./bench/assign tables      movement and balance of all methods
//	go run ./bench/assign optimum     what heavy tails cost, and the least they could: needs the solver cbc
//	go run ./bench/assign speed       time and allocations of one plan, and how they grow
//	go run ./bench/assign -large      sizes up to 1 000 000 partitions
//
// Times are of one core: run it with GOMAXPROCS=1 on a machine that does nothing else.
// Each is the least of several runs, since what disturbs one only makes it longer.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"text/tabwriter"
)

type options struct {
	partitions, workers int
	seeds               int
	runs                int
	large               bool
}

func main() {
	var o options
	flag.IntVar(&o.partitions, "partitions", 1000, "partitions of the tables")
	flag.IntVar(&o.workers, "workers", 20, "workers of the tables")
	flag.IntVar(&o.seeds, "seeds", 5, "seeds of each bar: the worst counts")
	flag.IntVar(&o.runs, "runs", 7, "runs of each time: the least counts")
	flag.BoolVar(&o.large, "large", false, "time sizes up to 1 000 000 partitions")
	flag.Parse()
	what := flag.Args()
	if len(what) == 0 {
		what = []string{"bars", "tables", "speed"}
	}
	for _, name := range what {
		run, ok := map[string]func(options, *tabwriter.Writer) error{"bars": bars, "tables": tables, "optimum": optimum, "speed": speed}[name]
		if !ok {
			fmt.Fprintln(os.Stderr, "assign: what? some of bars, tables, optimum, speed; see the package comment")
			os.Exit(2)
		}
		fmt.Printf("\n%s: %s, %s/%s, GOMAXPROCS=%d\n\n", name, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
		tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		err := run(o, tw)
		_ = tw.Flush()
		if err != nil {
			fmt.Fprintln(os.Stderr, "assign:", err)
			os.Exit(1)
		}
	}
}
