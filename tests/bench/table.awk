# SPDX-License-Identifier: GPL-2.0
#
# Prints what the phases cost, files like c-series.tsv side by side, and how many times the fewest SMCs
# that they could take:
#   awk -f table.awk least.tsv name=NAME FILE name=NAME FILE...

BEGIN { FS = "\t" }

/^#/ { next }

NF == 3 {
	least[$1] = $2
	next
}

!(name in number) {
	number[name] = ++files
	names[files] = name
}

{
	file = number[name]
	if (!($1 in units)) order[++phases] = $1
	# How many granules a teardown has is up to the RMM's own needs.
	if (!($1 in units) || file == files) units[$1] = $2
	smc[$1, file] = $3
	enter[$1, file] = $4
	failed[$1, file] = $5
	kernel[$1, file] = $7 == "-" ? "-" : $2 > 0 ? int($7 / $2) : $7
	hold[$1, file] = NF < 10 ? "-" : $10
	if (NF == 10 && $10 != "-" && (!(file in longest) || $10 > hold[longest[file], file]))
		longest[file] = $1
	commands[$1, file] = $9
	if ($8 != "-" && $8 > 0) commands[$1, file] = $9 " (" $8 " GRANULE_RANGE_* in pieces)"
}

END {
	printf "%-22s %6s %6s", "", "", ""
	for (f = 1; f <= files; f++) printf "  | %-46s", names[f]
	printf "\n%-22s %6s %6s", "phase", "units", "least"
	for (f = 1; f <= files; f++)
		printf "  | %6s %6s %7s %6s %8s %8s", "SMCs", "times", "entries", "failed", "kernel", "hold"
	print ""
	for (p = 1; p <= phases; p++) {
		phase = order[p]
		printf "%-22s %6s %6s", phase, units[phase], (phase in least) ? least[phase] : "-"
		for (f = 1; f <= files; f++)
			printf "  | %6s %6s %7s %6s %8s %8s", smc[phase, f], times(phase, smc[phase, f]), \
				enter[phase, f], failed[phase, f], kernel[phase, f], hold[phase, f]
		print ""
	}
	print "(least: the fewest SMCs that it could take, times: of those;"
	print "kernel: instructions of the host's kernel for each unit, or in all where there are none;"
	print "hold: the most of them, in all, while a lock was held for writing)"
	for (f = 1; f <= files; f++)
		if (f in longest)
			printf "longest_hold, %s: %d instructions, in %s\n", names[f], \
				hold[longest[f], f], longest[f]
	print "\nSMCs that do not enter a REC, by command (COMMAND=CALLS:FAILED):"
	for (p = 1; p <= phases; p++)
		for (f = 1; f <= files; f++)
			if (((order[p], f) in commands) && commands[order[p], f] != "-")
				printf "%-22s %-10s %s\n", order[p], names[f], commands[order[p], f]
}

# How many times the fewest SMCs that a phase could take.
function times(phase, calls) {
	if (!(phase in least) || calls == "") return ""
	return sprintf("%.1f", calls / least[phase])
}
