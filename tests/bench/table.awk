# SPDX-License-Identifier: GPL-2.0
#
# Prints what the phases cost, files like c-series.tsv side by side:
#   awk -f table.awk name=NAME FILE name=NAME FILE...

BEGIN { FS = "\t" }

/^#/ { next }

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
	commands[$1, file] = $9
	if ($8 != "-" && $8 > 0) commands[$1, file] = $9 " (" $8 " GRANULE_RANGE_* in pieces)"
}

END {
	printf "%-22s %6s", "", ""
	for (f = 1; f <= files; f++) printf "  | %-39s", names[f]
	printf "\n%-22s %6s", "phase", "units"
	for (f = 1; f <= files; f++) printf "  | %6s %7s %6s %8s %8s", "SMCs", "entries", "failed", "kernel", "hold"
	print ""
	for (p = 1; p <= phases; p++) {
		phase = order[p]
		printf "%-22s %6s", phase, units[phase]
		for (f = 1; f <= files; f++)
			printf "  | %6s %7s %6s %8s %8s", smc[phase, f], enter[phase, f], \
				failed[phase, f], kernel[phase, f], hold[phase, f]
		print ""
	}
	print "(kernel: instructions of the host's kernel for each unit, or in all where there are none;"
	print "hold: the most of them, in all, while a lock was held for writing)"
	print "\nSMCs that do not enter a REC, by command (COMMAND=CALLS:FAILED):"
	for (p = 1; p <= phases; p++)
		for (f = 1; f <= files; f++)
			if (((order[p], f) in commands) && commands[order[p], f] != "-")
				printf "%-22s %-10s %s\n", order[p], names[f], commands[order[p], f]
}
