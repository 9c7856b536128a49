# SPDX-License-Identifier: GPL-2.0
#
# Prints what the phases cost on each RMM as JSON: awk -f json.awk name=RMM FILE name=RMM FILE...

BEGIN {
	FS = "\t"
	printf "["
}

FNR == 1 {
	printf "%s\n  {\"rmm\": \"%s\", \"phases\": {", files++ ? "}}," : "", name
	phases = 0
}

{
	printf "%s\n    \"%s\": {\"pages\": %d, \"smc\": %d, \"rec_enters\": %d, \"by_command\": {", \
		phases++ ? "," : "", $1, $2, $3, $4
	separator = ""
	if ($4) {
		printf "\"REC_ENTER\": %d", $4
		separator = ", "
	}
	calls = $9 == "-" ? 0 : split($9, commands, " ")
	for (n = 1; n <= calls; n++) {
		split(commands[n], part, /[=:]/)
		printf "%s\"%s\": %d", separator, part[1], part[2]
		separator = ", "
	}
	printf "}, \"errors\": %d, \"kernel_instructions\": %s, \"longest_hold\": %s}", $5, \
		$7 == "-" ? "null" : $7, $10 == "-" ? "null" : $10
}

END { print files ? "}}\n]" : "]" }
