# cmake -DFIELDS=<lease_fields.h> -DBASE=<base.lua> "-DFUNCTIONS=<a.lua>;<b.lua>" -DNAME=<variable> -DOUT=<x.c> -P lua.cmake
#
# Makes one script of Lua files: the base, then each function, which runs when the script's first argument is its file's name ("a").
# Redis runs a script from its first line at every call, so what only another function needs is not even made. For the same reason
# the fields of a lease's line are numbers there and not variables (F_STATE is 1, F_OWNER is 2, ...).
#
# OUT has it as a C string, and with .lua for .c as it is, for tests.
file(READ "${BASE}" text)
foreach(function IN LISTS FUNCTIONS)
	file(READ "${function}" body)
	get_filename_component(name "${function}" NAME_WE)
	string(APPEND text "\nif ARGV[1] == '${name}' then\n${body}end\n")
endforeach()
string(APPEND text "\nreturn redis.error_reply('ERR the lease library has no function ' .. tostring(ARGV[1]))\n")

file(READ "${FIELDS}" header)
string(REGEX MATCHALL "FIELD\\([A-Z_]+, \"" fields "${header}")
set(n 0)
foreach(field IN LISTS fields)
	string(REGEX REPLACE "FIELD\\(([A-Z_]+), \"" "F_\\1" field "${field}")
	math(EXPR n "${n} + 1")
	string(REPLACE "${field}" "${n}" text "${text}")
endforeach()
string(REGEX MATCH "F_[A-Z_]+" unknown "${text}")
if(unknown)
	message(FATAL_ERROR "${unknown} is no field of ${FIELDS}")
endif()

string(REPLACE "\\" "\\\\" quoted "${text}")
string(REPLACE "\"" "\\\"" quoted "${quoted}")
string(REPLACE "\n" "\\n\"\n\t\"" quoted "${quoted}")
file(WRITE "${OUT}" "extern const char ${NAME}[];\nconst char ${NAME}[] =\n\t\"${quoted}\";\n")
string(REGEX REPLACE "\\.c$" ".lua" out_lua "${OUT}")
file(WRITE "${out_lua}" "${text}")
