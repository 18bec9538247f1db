"""Tests of the models that ship with the appliance."""
