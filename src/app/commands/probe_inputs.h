/* The files that a command line names, checked before MPI starts. Private to src/app. Local. */
#ifndef REAP_APP_COMMANDS_PROBE_INPUTS_H
#define REAP_APP_COMMANDS_PROBE_INPUTS_H

/* REAP_ERR_INPUT if one of them is an HDF5 file that the HDF5 library does not survive (reap/probe.h). One rank looks,
 * as far as the launcher tells the rank: the others get REAP_OK. To be called before MPI_Init. */
int probe_inputs(int argc, char **argv);

#endif
