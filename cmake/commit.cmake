# Writes the commit that is built into OUT, touching it only when it changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=* OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT COMMIT)
  set(COMMIT "of no repository")
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#pragma once\n#define SNAPWARD_COMMIT \"${COMMIT}\"\n" @ONLY)
