"""The commands of job.sh, one file each."""
