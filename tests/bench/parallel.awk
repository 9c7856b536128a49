# SPDX-License-Identifier: GPL-2.0
#
# What vCPUs cost that do the same at once, from what `rmi-client realm parallel` says:
#   awk -f parallel.awk parallel.tsv [PLUGIN] LINES
# PLUGIN is what the plugin for QEMU has written about the same run. parallel.tsv says what may be at most.
# Prints a table, and below it what costs more than it may; the exit status is 1 then.
#
# A unit is a page or a call. What it costs is what all vCPUs together have done for it, waiting included.

FILENAME ~ /parallel\.tsv$/ {
	if (!/^#/) most[$1, $2, $3] = $4
	next
}

$1 == "elapsed" {
	elapsed = $2
	next
}

$1 == "wait" {
	wait += $4
	where = where sprintf("%s%s %d times, %d", where == "" ? "" : "; ", $2, $3, $4 / $3)
	next
}

/^[0-9]+$/ {
	n = ++known
	kernel[n] = $1
	waited[n] = wait + 0
	time[n] = elapsed
	at[n] = where
	wait = 0
	where = ""
	next
}

/^bench: / {
	sub(/\r$/, "")
	for (n = 2; n <= NF; n++) {
		split($n, pair, "=")
		value[pair[1]] = pair[2]
	}
	n = ++phases
	split(value["phase"], name, "_")
	vcpus[n] = substr(value["phase"], match(value["phase"], /[0-9]+$/))
	what[n] = substr(value["phase"], 1, RSTART - 2)
	units[n] = value["units"]
	entries[n] = value["rec_enter"] / value["units"]
	others[n] = (value["smcs"] - value["rec_enter"]) / value["units"]
	failed[n] = value["failed"]
	# A nanosecond is an instruction of one of the CPUs.
	all[n] = value["us"] * 1000 / value["units"]
	if (!((what[n]) in first)) {
		first[what[n]] = n
		order[++kinds] = what[n]
	}
}

function ratio(of, n) {
	return of[first[what[n]]] > 0 ? of[n] / of[first[what[n]]] : 0
}

function check(n, column, got) {
	if (!((what[n], vcpus[n], column) in most)) return
	met[what[n], vcpus[n], column]
	if (got > most[what[n], vcpus[n], column])
		bad = bad sprintf("%s, %d vCPUs: %s is %.4g (at most %s)\n", what[n], vcpus[n], column, got, \
			most[what[n], vcpus[n], column])
}

END {
	if (!phases || known && known != phases) {
		print "phases are missing"
		exit 1
	}
	printf "%-12s %5s | %8s %8s %6s", "", "vCPUs", "entries", "SMCs", "all"
	if (known) printf " | %7s %7s %6s %6s", "kernel", "waiting", "ratio", "time"
	print ""
	for (k = 1; k <= kinds; k++)
		for (n = 1; n <= phases; n++) {
			if (what[n] != order[k]) continue
			printf "%-12s %5d | %8.5f %8.5f %6.3f", what[n], vcpus[n], entries[n], others[n], ratio(all, n)
			check(n, "entries", entries[n])
			check(n, "smcs", others[n])
			check(n, "failed", failed[n])
			check(n, "all", ratio(all, n))
			if (known) {
				of_unit[n] = (kernel[n] + waited[n]) / units[n]
				cpu_time[n] = time[n] * vcpus[n] / units[n]
				printf " | %7d %7d %6.3f %6.3f", kernel[n] / units[n], waited[n] / units[n], \
					ratio(of_unit, n), ratio(cpu_time, n)
				check(n, "sum", of_unit[n])
				check(n, "ratio", ratio(of_unit, n))
				check(n, "time", ratio(cpu_time, n))
				if (at[n] != "") places = places sprintf("%s, %d vCPUs: %s\n", what[n], vcpus[n], at[n])
			}
			print ""
		}
	print "(of a page or a call: entries of a REC; other SMCs; all: instructions of all there is, against one vCPU" \
		(known ? ";" : ")")
	if (known) {
		print "kernel: instructions of the host's kernel; waiting: for locks, in what could have been executed;"
		print "ratio: the two against one vCPU; time: that of all CPUs, from begin to end, against one vCPU)"
		printf "where they wait, how often, and how long each time:\n%s", places
	}
	for (limit in most)
		if (!(limit in met) && (known || limit !~ /(sum|ratio|time)$/)) {
			split(limit, part, SUBSEP)
			bad = bad sprintf("no phase %s_%s\n", part[1], part[2])
		}
	printf "%s", bad
	exit bad != ""
}
