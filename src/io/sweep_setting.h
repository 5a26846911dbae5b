/* Private to src/io: the parts of a setting that stand in its own file and in the merged one alike. Local calls. */
#ifndef REAP_IO_SWEEP_SETTING_H
#define REAP_IO_SWEEP_SETTING_H

#include "io/hdf5/hdf5_util.h"
#include "sweep_file.h"

/* Attributes of `place`: all but the name and the report; only the network's own figures; `report` as a data set. */
int reap_sweep_write_attributes(hid_t place, const reap_sweep_setting *setting);
int reap_sweep_write_figures(hid_t place, const reap_sweep_setting *setting);
int reap_sweep_write_report(hid_t place, const char *report);

/* Group `made_with`. */
int reap_sweep_write_origin(hid_t file, const reap_sweep_origin *origin);

#endif
