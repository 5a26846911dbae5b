"""What the scripts share: mistakes of the user become one line and exit status 1."""
import os
import sys

DEBIAN = ("h5py", "matplotlib", "numpy", "onnx", "pandas", "torch")


class UserError(Exception):
    """A file or option that does not serve; the text says what to do."""


def _missing(error):
    module = str(error.name).split(".")[0]
    return "%s%s; see analysis/requirements.txt" % (str(error).strip().splitlines()[0],
                                                    " (Debian: python3-%s)" % module if module in DEBIAN else "")


def _reason(error):
    if isinstance(error, ImportError):
        return _missing(error)
    if isinstance(error, KeyError):
        return "the file has no entry %s; another kind or version of file?" % error
    return " ".join(str(error).split())


def run(main):
    try:
        main()
    except (UserError, ImportError, OSError, KeyError) as error:
        sys.exit("%s: %s" % (os.path.basename(sys.argv[0]), _reason(error)))


def check_output(path):
    """Before long work: whether a file can be written there."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UserError("%s: the folder %s does not exist; create it first" % (path, folder))
    if os.path.isdir(path) or not os.access(folder, os.W_OK):
        raise UserError("%s: %s" % (path, "is a folder" if os.path.isdir(path) else "its folder cannot be written to"))
