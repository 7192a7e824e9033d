package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The nats command takes programs for its own commands: `nats plugins register parti
// FILE` asks the program with this flag what it can do, and from then on
// `nats parti status` runs it. What it is told is a model of commands, arguments and
// flags, in JSON. Of flags that the nats command has as well, such as --context, it passes
// on what it was given.
const introspect = "--fisk-introspect"

// A pluginModel is what the nats command is told.
type pluginModel struct {
	Name     string          `json:"name"`
	Help     string          `json:"help"`
	Version  string          `json:"version,omitempty"`
	Commands []pluginCommand `json:"commands"`
}

type pluginCommand struct {
	Name     string       `json:"name"`
	Help     string       `json:"help"`
	HelpLong string       `json:"help_long,omitempty"`
	Flags    []pluginFlag `json:"flags,omitempty"`
	Args     []pluginArg  `json:"args,omitempty"`
}

type pluginFlag struct {
	Name        string `json:"name"`
	Help        string `json:"help"`
	PlaceHolder string `json:"place_holder,omitempty"`
	Boolean     bool   `json:"boolean"`
	Cumulative  bool   `json:"cumulative"`
}

// A pluginArg is always cumulative: others are passed on in no order.
type pluginArg struct {
	Name       string `json:"name"`
	Help       string `json:"help"`
	Required   bool   `json:"required,omitempty"`
	Cumulative bool   `json:"cumulative"`
}

// natsNames are the flags that the nats command calls otherwise. Both names are ours.
var natsNames = map[string]string{"nats": "server", "tls-first": "tlsfirst"}

// bothNames makes the names of the nats command ours.
func bothNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	for ours, theirs := range natsNames {
		if name == theirs {
			return pflag.NormalizedName(ours)
		}
	}
	return pflag.NormalizedName(name)
}

// plugin is the model: the commands that look at a group or steer it.
func plugin(root *cobra.Command) pluginModel {
	m := pluginModel{Name: root.Name(), Help: root.Short, Version: built().Parti}
	for _, c := range root.Commands() {
		if c.GroupID != groupLook && c.GroupID != groupSteer || c.Hidden {
			continue
		}
		one := pluginCommand{Name: c.Name(), Help: c.Short, HelpLong: c.Long}
		take := func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			place, says := pflag.UnquoteUsage(f)
			flag := pluginFlag{Name: f.Name, Help: says, PlaceHolder: strings.ToUpper(place), Boolean: f.Value.Type() == "bool"}
			flag.Cumulative = strings.HasSuffix(f.Value.Type(), "Array")
			if theirs := natsNames[f.Name]; theirs != "" {
				flag.Name = theirs
			}
			one.Flags = append(one.Flags, flag)
		}
		c.LocalFlags().VisitAll(take)
		c.InheritedFlags().VisitAll(take)
		if words := strings.Fields(strings.Split(c.Use, "[flags]")[0])[1:]; len(words) > 0 {
			name := strings.ToLower(strings.Trim(strings.Join(words, "-"), "[]"))
			one.Args = []pluginArg{{Name: name, Help: strings.Join(words, " "), Required: words[0][0] != '[', Cumulative: true}}
		}
		m.Commands = append(m.Commands, one)
	}
	return m
}
