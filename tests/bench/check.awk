# SPDX-License-Identifier: GPL-2.0
#
# Prints what costs more than it may: awk -f check.awk [rmm=ranges|1.0] limits.tsv phases.tsv. With
# c-series.tsv between them, also what is worse than that. Exit status 1 if there is anything.
# (Of the C series, figures are rounded, and interrupts are not known.)

BEGIN { FS = "\t" }

/^#/ { next }

# Limits have four columns, phases have ten, and nine of the C series are known. RMI 1.0 has its own limits.
NF == 4 && (rmm == "1.0") != ($4 == "1.0") { next }

NF == 4 {
	limits[++count] = $0
	own[$1, $2]
	next
}

NF == 9 && FILENAME ~ /c-series/ {
	c_smc[$1] = $3
	c_enter[$1] = $4
	c_kernel[$1] = $7
	next
}

NF == 10 {
	phases++
	split("", cost)
	cost["smc"] = $3
	cost["rec_enter"] = $4
	cost["failed"] = $5
	if ($7 != "-" && $2 > 0) cost["kernel"] = $7 / $2
	if ($8 != "-") cost["pieces"] = $8
	if ($10 != "-") cost["hold"] = $10
	calls = split($9, commands, " ")
	for (n = 1; n <= calls; n++) {
		split(commands[n], part, /[=:]/)
		cost[part[1]] = part[2]
	}
	for (n = 1; n <= count; n++) {
		split(limits[n], limit, "\t")
		if (limit[1] != $1 && limit[1] != "*") continue
		met[n] = 1
		if (limit[1] == "*" && ($1, limit[2]) in own) continue
		if (limit[4] == "ranges" && rmm != "ranges") continue
		most = limit[3] + (limit[3] ~ /\+$/ ? $6 : 0)
		if (limit[2] in cost) check($1, limit[2], cost[limit[2]], most, "at most")
	}
	if ($1 in c_smc) {
		check($1, "smc", $3, c_smc[$1] + $6, "C series")
		check($1, "rec_enter", $4, c_enter[$1] + $6, "C series")
		if ($7 != "-" && c_kernel[$1] != "-") check($1, "kernel, in all", $7, c_kernel[$1] * 1.01, "C series")
	}
}

function check(phase, what, cost, most, why) {
	if (cost + 0 <= most + 0) return
	printf "%s: %s is %s (%s: %s)\n", phase, what, cost, why, most
	bad = 1
}

END {
	for (n = 1; n <= count; n++) {
		if (n in met) continue
		split(limits[n], limit, "\t")
		print "no phase " limit[1]
		bad = 1
	}
	if (!phases) {
		print "no phases"
		bad = 1
	}
	exit bad
}
