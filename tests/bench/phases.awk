# SPDX-License-Identifier: GPL-2.0
#
# What `rmi-client realm bench` says, as a table like c-series.tsv with
# another column for the longest hold of a lock: awk -f phases.awk [PLUGIN] LINES.
# PLUGIN is what the plugin for QEMU has written about the same run.

BEGIN {
	longest = "-"
	OFS = "\t"
	DELEGATE = "c40001f1"
	UNDELEGATE = "c40001f2"
}

# Ranges of one command after another, with no other between: those that continue one of them, in
# whatever order, could have been part of it.
$1 == "smc" {
	if ($2 != command) end_of_ranges()
	command = $2
	if (command == DELEGATE || command == UNDELEGATE) {
		ranges++
		base[ranges] = $3
		tops[$4]
	}
	next
}

function end_of_ranges(n) {
	for (n = 1; n <= ranges; n++) if (base[n] in tops) split_up++
	ranges = 0
	command = ""
	split("", tops)
}

# The longest time that a lock was held for writing.
$1 == "hold" {
	longest = $2
	next
}

/^[0-9]+$/ {
	end_of_ranges()
	kernel[++known] = $1
	pieces[known] = split_up + 0
	split_up = 0
	hold[known] = longest
	longest = "-"
	next
}

/^bench: / {
	sub(/\r$/, "")
	split("", value)
	commands = ""
	for (n = 2; n <= NF; n++) {
		split($n, pair, "=")
		if (pair[1] ~ /^[A-Z]/) commands = commands " " $n
		else value[pair[1]] = pair[2]
	}
	phases++
	print value["phase"], value["units"], value["smcs"], value["rec_enter"], value["failed"], \
		value["interrupts"], (phases in kernel) ? kernel[phases] : "-", \
		(phases in kernel) ? pieces[phases] : "-", \
		commands == "" ? "-" : substr(commands, 2), (phases in hold) ? hold[phases] : "-"
}

# Which phase a number belongs to is known only if there is one for each.
END { if (!phases || known && known != phases) exit 1 }
