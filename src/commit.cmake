# Writes HEADER with REAP_COMMIT, the commit of the tree in SOURCE ("" where git does not tell), if it is another than before.
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty --abbrev=12 --exclude=* OUTPUT_VARIABLE COMMIT
                ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE FAILED)
if(FAILED OR NOT EXISTS "${SOURCE}/.git")
  set(COMMIT "")
endif()
file(CONFIGURE OUTPUT "${HEADER}" CONTENT "#define REAP_COMMIT \"${COMMIT}\"\n")
