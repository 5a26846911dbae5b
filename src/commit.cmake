# Writes HEADER if it is another than before: REAP_COMMIT, the commit of the tree in SOURCE ("" where git does not tell), and
# REAP_SCALAPACK, the name of the file SCALAPACK.
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty --abbrev=12 --exclude=* OUTPUT_VARIABLE COMMIT
                ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE FAILED)
if(FAILED OR NOT EXISTS "${SOURCE}/.git")
  set(COMMIT "")
endif()
file(CONFIGURE OUTPUT "${HEADER}" CONTENT "#define REAP_COMMIT \"${COMMIT}\"\n#define REAP_SCALAPACK \"${SCALAPACK}\"\n")
