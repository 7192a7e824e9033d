package run

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The variables of a command's environment.
const (
	envPartition = "PARTI_PARTITION"
	envToken     = "PARTI_TOKEN"
	envWorker    = "PARTI_WORKER"
	envGroup     = "PARTI_GROUP"
	envWeight    = "PARTI_WEIGHT"
	envLabel     = "PARTI_LABEL_" // and a label's name

	// By this a guardian knows what a command has started: the partition, and before it those of
	// the commands that this parti is within, each with a space after it, which no ID has. So what
	// a parti within a command has started is also the command's.
	envWithin = "PARTI_WITHIN"
)

// Tells reports whether a command is told something by a variable of that name.
func Tells(name string) bool {
	return slices.Contains([]string{envPartition, envToken, envWorker, envGroup, envWeight, envWithin}, name) || strings.HasPrefix(name, envLabel)
}

// A job is what a command is told.
type job struct {
	Group, Worker, Partition string
	Token                    uint64
	Weight                   int64
	Labels                   map[string]string
}

// args are a command's words, with what stands in braces put in. Other braces stay as
// they are.
func (j job) args(words []string) []string {
	r := strings.NewReplacer(
		"{partition}", j.Partition,
		"{token}", strconv.FormatUint(j.Token, 10),
		"{worker}", j.Worker,
		"{group}", j.Group,
		"{weight}", strconv.FormatInt(j.Weight, 10),
	)
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = r.Replace(w)
	}
	return all
}

// env is a command's environment besides parti's own.
func (j job) env() []string {
	all := []string{
		envWithin + "=" + os.Getenv(envWithin) + j.Partition + " ",
		envPartition + "=" + j.Partition,
		envToken + "=" + strconv.FormatUint(j.Token, 10),
		envWorker + "=" + j.Worker,
		envGroup + "=" + j.Group,
		envWeight + "=" + strconv.FormatInt(j.Weight, 10),
	}
	for _, name := range slices.Sorted(maps.Keys(j.Labels)) {
		if value := j.Labels[name]; !strings.Contains(value, "\x00") {
			all = append(all, envLabel+variable(name)+"="+value)
		}
	}
	return all
}

// variable makes a label's name one of a variable: "data-center" is DATA_CENTER.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, name)
}
