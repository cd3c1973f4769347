"""The words of the command line beside the gauge itself, one file each."""
